"""What is a schedule worth? One objective after another, or mixed by row, against each alone, at three budgets.

    python proofs/schedules.py --shards en=SHARDS zh=SHARDS --out FOLDER [--pairs en=FILE zh=FILE]
        [--probes en=TRAIN,TEST zh=TRAIN,TEST] [--size tiny] [--budget 5e12flops] [--times 1 4 16] [--seeds 3]
        [--only causal mlm ...] [--languages en]
    python proofs/schedules.py ... --table

Every objective has the same text, body, optimiser, rate and compute. Where nothing changes on the way, one run serves
all budgets: with WSD it goes on from before its rate fell, and the steps of the decay alone are done twice; an
objective that changes (`causal -> mlm`) is trained anew for each budget, since what it reads depends on its end. The
hours of a row are those of a run that was trained for its budget alone, the fastest of the seeds. A schedule is held to
what its end teaches.

What is done is not done again, and a run that was stopped goes on, so several processes may share the work by --only
and --languages. --table prints, of every metric of `bothways compare`, the means over seeds, and from which budget on a
mixture or schedule is ahead of the objective that teaches the metric alone, and everything of what only counts, by
more than the interval of seeds and items (`statistics.compared`); it writes FOLDER/schedules.html, and
FOLDER/schedules.svg where matplotlib is installed; and fails where rows are missing, which it names.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from bothways.config import read
from bothways.corpus import Shards
from bothways.errors import BothwaysError
from bothways.evaluation.comparison.baselines import baselines
from bothways.evaluation.comparison.config import folder_name
from bothways.evaluation.comparison.eval_data import EvalData, Pairs
from bothways.evaluation.comparison.measure import Scores, measured, read_scores, write_scores
from bothways.evaluation.comparison.metrics import BITS, FILL, NEXT, PAIRS, PSEUDO, Metric
from bothways.evaluation.linear_probe import read_sides
from bothways.html import TableRow, page
from bothways.html.charts import colours_of, pictures
from bothways.html.curves import Chart, Curve
from bothways.statistics import Compared, compared
from bothways.training.config import read_budget
from bothways.training.pretraining import PretrainConfig, pretrain
from bothways.training.run_folder import RunFolder

OBJECTIVES = {
    "causal": "causal",
    "mlm": "mlm",
    "hybrid 1/8": "hybrid(causal=1/8)",
    "hybrid 1/2": "hybrid",
    "hybrid 7/8": "hybrid(causal=7/8)",
    "causal then mlm": "causal -> mlm",
    "mlm then causal": "mlm -> causal",
}
"""{name: expression}; the share of a hybrid is that of its causal rows."""
NUMBER = {name: number for number, name in enumerate(OBJECTIVES)}
ALONE = {BITS: "causal", NEXT: "causal", PAIRS: "causal"}
"""{metric: the objective that teaches it alone}; all others: mlm."""
COUNTS = {BITS: "trigram", NEXT: "trigram", FILL: "unigram", PAIRS: "chance", PSEUDO: "chance"}
"""{metric: what needs no training}; of probes: TF-IDF."""
TFIDF = "TF-IDF, no body"
ROWS = 1024  # held out
Key = tuple[str, str, float, int]  # language, objective, budget, seed


def changes(name: str) -> bool:
    """Whether an objective does on the way, so that a run of it serves one budget alone."""
    return "->" in OBJECTIVES[name]


class Proof:
    """Where everything lies, and what is done already."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, Path(given.out)
        self.shards = {language: Path(place) for language, place in given.shards.items()}
        ((self.unit, self.amount),) = read_budget(given.budget).items()

    @property
    def keys(self) -> Iterator[Key]:
        """All rows that are named, the seeds one after another and budgets from small to large."""
        given = self.given
        for seed, language, name in product(range(given.seeds), given.languages or self.shards, given.only):
            yield from ((language, name, times, seed) for times in sorted(given.times))

    def place(self, key: Key) -> Path:
        """The file of a row's scores."""
        language, name, times, seed = key
        return self.out / "rows" / f"{language}-{folder_name(OBJECTIVES[name])}-{times:g}-{seed}.json"

    def config(self, key: Key) -> PretrainConfig:
        """The run that a row measures."""
        language, name, times, seed = key
        alone = f"-{times:g}" if changes(name) else ""
        return read(
            PretrainConfig,
            {
                "shards": self.shards[language],
                "out": self.out / "runs" / f"{language}-{folder_name(OBJECTIVES[name])}-{seed}{alone}",
                "objective": OBJECTIVES[name],
                "size": self.given.size,
                "training": {**self.given.training, "seed": seed, "budget": {self.unit: self.amount * times}},
            },
        )

    def eval_data(self, language: str) -> EvalData:
        """The pairs and the probe of a language."""
        pairs, probes = self.given.pairs.get(language), self.given.probes.get(language)
        train_and_test = tuple(map(Path, probes.split(","))) if probes else ()
        return EvalData(
            pairs=Pairs.read((Path(pairs),), each=self.given.pairs_each) if pairs else None,
            probes={train_and_test[0].resolve().parent.name: read_sides("classify", *train_and_test)} if probes else {},
            tasks={},
            rows=ROWS,
            key="",
        )

    def counted(self, language: str) -> dict[str, dict[str, float]]:
        """{metric: {what needs no training: its figure}}, once."""
        place = self.out / f"{language}-counted.json"
        if not place.exists():
            shards = Shards.open(self.shards[language])
            first = self.config((language, "mlm", 1.0, 0))
            found = baselines(first, shards, self.eval_data(language), self.out / f".{language}-untrained")
            place.write_text(json.dumps(found), encoding="utf-8")
        return dict(json.loads(place.read_text(encoding="utf-8")))


def row(proof: Proof, key: Key) -> None:
    """Trains to the budget, measures, and writes down what it took."""
    config, place = proof.config(key), proof.place(key)
    if place.exists():
        return
    folder = RunFolder(pretrain(config, resume=(config.out / "config.yaml").exists()))
    last, language = folder.last("train"), key[0]
    found = measured(config.out, proof.eval_data(language), Shards.open(config.shards))
    place.parent.mkdir(parents=True, exist_ok=True)
    took = {name: last[name] for name in ("seconds", "flops", "tokens")}
    place.with_suffix(".took").write_text(json.dumps(took), encoding="utf-8")
    write_scores(place, found)
    told = ", ".join(f"{metric.short} {items.figure:.4f}" for metric, items in found.items())
    print(f"{' '.join(map(str, key))}: {last['seconds'] / 3600:.3f} h; {told}", flush=True)
    if changes(key[1]) or key[2] == max(proof.given.times):
        shutil.rmtree(config.out)  # no larger budget goes on from here


class Table:
    """The rows of one language that are there at a budget for all seeds and objectives."""

    def __init__(self, proof: Proof, language: str) -> None:
        self.language, self.counted = language, proof.counted(language)
        self.names, self.times = list(proof.given.only), sorted(proof.given.times)
        seeds = range(proof.given.seeds)
        self.scores: dict[tuple[str, float], list[Scores]] = {}
        self.took: dict[tuple[str, float], dict[str, float]] = {}
        for name, times in product(self.names, self.times):
            places = [proof.place((language, name, times, seed)) for seed in seeds]
            self.scores[name, times] = [read_scores(place) for place in places]
            took = [json.loads(place.with_suffix(".took").read_text(encoding="utf-8")) for place in places]
            self.took[name, times] = min(took, key=lambda one: one["seconds"])  # other work on the machine adds to it

    @property
    def metrics(self) -> list[Metric]:
        """Those that any objective is held to."""
        return list(dict.fromkeys(metric for some in self.scores.values() for metric in some[0]))

    def able(self, metric: Metric) -> list[str]:
        """The objectives that are held to a metric; a bound decides nothing."""
        first = {name: self.scores[name, self.times[0]][0].get(metric) for name in self.names}
        return [name for name, items in first.items() if items is not None and not items.bound]

    def compared(self, metric: Metric, times: float) -> Compared:
        """Of those that are able, in their order."""
        items = [[one[metric] for one in self.scores[name, times]] for name in self.able(metric)]
        value, weight = (
            np.array([[getattr(one, key) for one in some] for some in items]) for key in ("value", "weight")
        )
        return compared(value, weight)

    def line(self, metric: Metric) -> tuple[str, float] | None:
        """What needs no training: its name and figure."""
        name = COUNTS.get(metric, TFIDF)
        figure = self.counted.get(metric.name, {}).get(name)
        return None if figure is None else (name, figure)

    def first(self, ahead: Callable[[float], bool]) -> str:
        """The smallest budget from which on something holds at every one."""
        held = list(takewhile(ahead, reversed(self.times)))
        return f"{held[-1]:g}x" if held else "not yet"

    def pays(self, metric: Metric, name: str, against: str) -> str:
        """The budget from which on it is ahead of another by more than chance."""
        able, sign = self.able(metric), 1 if metric.better == "more" else -1
        if name == against or against not in able:
            return "-"
        one, other = able.index(name), able.index(against)

        def ahead(times: float) -> bool:
            found = self.compared(metric, times)
            return found.exceeds(one, other) and sign * (found.means[one] - found.means[other]) > 0

        return self.first(ahead)

    def beats(self, metric: Metric, name: str) -> str:
        """The budget from which on every seed is ahead of what needs no training."""
        line, sign = self.line(metric), 1 if metric.better == "more" else -1
        if line is None:
            return "-"
        figure = line[1]
        return self.first(
            lambda times: all(sign * (one[metric].figure - figure) > 0 for one in self.scores[name, times])
        )

    def rows(self, metric: Metric) -> Iterator[TableRow]:
        """Of each objective, and below them of what only counts."""
        means = {times: self.compared(metric, times).means for times in self.times}
        alone = ALONE.get(metric, "mlm")
        for k, name in enumerate(self.able(metric)):
            figures = [f"{means[times][k]:.4f}" for times in self.times]
            hours = f"{self.took[name, self.times[-1]]['seconds'] / 3600:.3g}"
            yield TableRow(name, [*figures, hours, self.pays(metric, name, alone), self.beats(metric, name)])
        if line := self.line(metric):
            yield TableRow(line[0], [f"{line[1]:.4f}"] * len(self.times) + [None] * 3, "baseline")

    def heads(self, metric: Metric) -> list[str]:
        """Of the columns of `rows`."""
        line = self.line(metric)
        return [
            *("", *(f"{times:g}x" for times in self.times), "hours of the largest"),
            *(f"ahead of {ALONE.get(metric, 'mlm')} from", f"ahead of {line[0] if line else 'counting'} from"),
        ]

    def charts(self) -> Iterator[Chart]:
        """A chart for each metric: the means over seeds against what was spent."""
        colours = colours_of(self.names)
        for metric in self.metrics:
            curves = [
                Curve(
                    name,
                    [(self.took[name, times], float(self.compared(metric, times).means[k])) for times in self.times],
                    colour=colours[name],
                )
                for k, name in enumerate(self.able(metric))
            ]
            caption = f"{metric.better.capitalize()} is better. Dashed: what needs no training."
            line = self.line(metric)
            yield Chart(f"{self.language}: {metric.name}", caption, curves, [line] if line else [], whole=True)


def report(proof: Proof) -> None:
    """Prints the tables, and writes the page and the picture."""
    found = [Table(proof, language) for language in proof.given.languages or proof.shards]
    sections = []
    for table in found:
        for metric in table.metrics:
            title, heads, rows = f"{table.language}: {metric.name}", table.heads(metric), [*table.rows(metric)]
            print(f"\n{title} ({metric.better} is better)\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
            for one in rows:
                print(f"| {' | '.join([one.name, *(str(cell or '') for cell in one.cells)])} |")
            sections.append((title, metric.about, heads, rows))
    groups = {table.language: [*table.charts()] for table in found}
    lines = [took for table in found for took in table.took.values()]
    about = "Each point is a run that was trained for its budget alone, its rate fallen; means over the seeds."
    figures = {
        "kind": "The value of a schedule",
        "name": f"{len(proof.given.only)} objectives, {proof.given.size}, {proof.given.seeds} seeds",
        "lead": f"Budgets of {', '.join(f'{times:g}' for times in found[0].times)} x {proof.given.budget}.",
        "charts": pictures(groups, lines, title="Quality against hours", about=about, first="seconds"),
        "sections": sections,
    }
    (proof.out / "schedules.html").write_text(page("charts.html", **figures), encoding="utf-8")
    draw([chart for charts in groups.values() for chart in charts], proof.out / "schedules.svg")


def draw(charts: Sequence[Chart], place: Path) -> None:
    """A panel a chart, against time."""
    try:
        import matplotlib
    except ImportError:
        print("no schedules.svg: matplotlib is not installed", file=sys.stderr)
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams |= {"svg.hashsalt": "schedules", "font.size": 8}
    across = min(3, len(charts))
    down = -(-len(charts) // across)
    figure, panels = pyplot.subplots(
        down, across, figsize=(3.6 * across, 2.8 * down), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(charts) :]:
        panel.set_axis_off()
    for panel, chart in zip(panels.flat, charts, strict=False):
        for curve in chart.curves:
            minutes = [line["seconds"] / 60 for line, _ in curve.points]
            values = [value for _, value in curve.points]
            panel.plot(minutes, values, color=f"C{NUMBER[curve.name]}", marker="o", markersize=3, label=curve.name)
        for name, value in chart.levels:
            panel.axhline(value, color="#555555", linestyle="--", linewidth=1, label=name)
        panel.set(title=chart.title, xlabel="minutes")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.legend(frameon=False, fontsize=6)
    figure.savefig(place, metadata={"Date": None})


def named(text: str) -> tuple[str, str]:
    """LANGUAGE=PLACE."""
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise argparse.ArgumentTypeError(f"expected LANGUAGE=PLACE, got {text!r}")
    return name, place


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", nargs="+", type=named, required=True)
    parser.add_argument("--pairs", nargs="*", type=named, default=[])
    parser.add_argument("--pairs-each", type=int, default=100)
    parser.add_argument("--probes", nargs="*", type=named, default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/schedules"))
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--budget", default="5e12flops")
    parser.add_argument("--times", nargs="+", type=float, default=[1.0, 4.0, 16.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--languages", nargs="*")
    parser.add_argument("--training", type=json.loads, default={}, help="other settings of every run, as JSON")
    parser.add_argument("--table", action="store_true")
    given: Any = parser.parse_args()
    for name in ("shards", "pairs", "probes"):
        setattr(given, name, dict(getattr(given, name)))
    proof = Proof(given)
    try:
        if given.table:
            if missing := [" ".join(map(str, key)) for key in proof.keys if not proof.place(key).exists()]:
                sys.exit(f"{len(missing)} rows are missing: {'; '.join(missing)}")
            return report(proof)
        for key in proof.keys:
            row(proof, key)
    except BothwaysError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
