"""What came out, as JSON: figures, differences with their intervals, costs; and as rows and sentences for readers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.measure import Scores
from bothways.evaluation.comparison.search import RateSearch
from bothways.frames import data_frame
from bothways.html import Cell, TableRow
from bothways.html.charts import colours_of
from bothways.statistics import compared
from bothways.terminal import compact
from bothways.training.pretraining.config import PretrainConfig
from bothways.training.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas

VERSION = 2
BEHIND, TIED, BOUND = "behind", "tied", "a bound"


class Comparison(dict[str, Any]):
    """What `compare` gives: what stands in comparison.json, as plain values."""

    def __repr__(self) -> str:
        """The verdict on each metric, a line each."""
        objectives = ", ".join(entry["objective"] for entry in self["objectives"])
        lines = [f"Comparison({objectives}; {self['seeds']} seeds)"]
        return "\n".join([*lines, *(f"  {metric['name']}: {summary(metric)}" for metric in self["metrics"])])

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each metric and objective: metric, better ("more" or "less"), objective, mean (over seeds, in the
        metric's units), bound, and against the one with the best mean difference, half_width (of the 95 % interval) and
        verdict.

        Raises:
            MachineError: pandas is not installed.
        """
        return data_frame(row for metric in self["metrics"] for row in _frame_rows(metric))


def _frame_rows(metric: dict[str, Any]) -> Iterator[dict[str, Any]]:
    others = against_the_best(metric)
    for entry in metric["objectives"]:
        name = entry["objective"]
        found = others.get(name, {"difference": 0.0, "half_width": None, "verdict": "best mean"})
        yield {
            "metric": metric["name"],
            "better": metric["better"],
            **{key: entry[key] for key in ("objective", "mean", "bound")},
            **{key: found[key] for key in ("difference", "half_width", "verdict")},
        }


def cost(config: CompareConfig, search: RateSearch, runs: Sequence[RunFolder]) -> dict[str, Any]:
    """What an objective's search and runs took: the means of its runs, the sum of its trials."""
    last = [folder.last() for folder in runs]
    optimiser = runs[0].config(PretrainConfig).training.optimiser
    return {
        "folders": [str(folder.path.relative_to(config.out)) for folder in runs],
        "learning_rate": optimiser.learning_rate,
        "factor": search.factor,
        "edge": search.at_an_end,
        "trials": [
            {
                "factor": trial.candidate.rate,
                "share": trial.budget,
                "loss": trial.loss if math.isfinite(trial.loss) else None,
            }
            for trial in search.trials
        ],
        "search": {name: sum(getattr(trial, name) for trial in search.trials) for name in ("flops", "seconds")},
        "parameters": runs[0].noted("model")["parameters"],
        **{name: float(np.mean([line[name] for line in last])) for name in ("flops", "seconds", "tokens", "step")},
    }


def compared_metrics(
    config: CompareConfig, scores: dict[tuple[str, int], Scores], baselines: dict[str, dict[str, float]]
) -> Iterator[dict[str, Any]]:
    """Every metric with those objectives that can be held to it, the best first, bounds behind figures.

    Args:
        scores: of every run, by objective and seed.
        baselines: {metric: {what needs no training: its figure}}.
    """
    for metric in dict.fromkeys(metric for found in scores.values() for metric in found):
        able = [name for name in config.objectives if metric in scores[name, 0]]
        items = [[scores[name, seed][metric] for seed in range(config.seeds)] for name in able]
        value, weight = (
            np.array([[getattr(one, key) for one in some] for some in items]) for key in ("value", "weight")
        )
        result = compared(value, weight)
        sign = -1 if metric.better == "more" else 1
        order = sorted(range(len(able)), key=lambda k: (items[k][0].bound, sign * result.means[k]))
        yield {
            **asdict(metric),
            "items": len(items[0][0].value),
            "seed_sd": None if np.isnan(result.seed_sd) else result.seed_sd,
            "objectives": [
                {
                    "objective": able[k],
                    "mean": float(result.figures[k].mean()),
                    "seeds": result.figures[k].tolist(),
                    "bound": items[k][0].bound,
                    "ties": int(sum(one.ties for one in items[k])),
                }
                for k in order
            ],
            "differences": [
                {
                    "better": able[one],
                    "worse": able[other],
                    "difference": float(abs(result.means[one] - result.means[other])),
                    "half_width": float(result.halves[one, other]),
                    # A bound wins against nobody and loses to nobody: what it bounds may be better, and it is not
                    # measured as a figure is (who unmasks a text knows how long it is).
                    "verdict": BOUND if items[other][0].bound else BEHIND if result.exceeds(one, other) else TIED,
                }
                for one, other in combinations(order, 2)
            ],
            "baselines": baselines.get(metric.name, {}),
        }


def against_the_best(metric: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{objective: how it differs from the one with the best mean}, for all others."""
    first = metric["objectives"][0]["objective"]
    return {each["worse"]: each for each in metric["differences"] if each["better"] == first}


def tied(metric: dict[str, Any]) -> list[str]:
    """Those with the best mean and those indistinguishable from it; empty where the best leads, or is alone."""
    others = [name for name, found in against_the_best(metric).items() if found["verdict"] == TIED]
    return [metric["objectives"][0]["objective"], *others] if others else []


def leader(metric: dict[str, Any]) -> str | None:
    """The one that every other is behind, and every baseline; None: nobody can be called the best."""
    verdicts = {found["verdict"] for found in against_the_best(metric).values()}
    leads = verdicts == {BEHIND} and not _unbeaten(metric)
    return metric["objectives"][0]["objective"] if leads else None


def _unbeaten(metric: dict[str, Any]) -> list[str]:
    """The baselines that the best mean is not better than."""
    sign, best = (1 if metric["better"] == "more" else -1), metric["objectives"][0]["mean"]
    return [f"{name} ({figure(value)})" for name, value in metric["baselines"].items() if sign * (best - value) <= 0]


def summary(metric: dict[str, Any]) -> str:
    """A sentence: who leads or is tied, who is behind and by how much, and what needs no training and is as good."""
    first, others = metric["objectives"][0], against_the_best(metric)
    verdicts: dict[str, list[str]] = {TIED: [], BEHIND: [], BOUND: []}
    for name, found in others.items():
        by = f" (by {figure(found['difference'])} ± {figure(found['half_width'])})"
        verdicts[found["verdict"]].append(name + by * (found["verdict"] == BEHIND))
    if first["bound"]:
        return f"Only bounds, which decide nothing: {', '.join([first['objective'], *verdicts[BOUND]])}."
    if not others:
        parts = [f"Only {first['objective']} can be measured"]
    elif verdicts[TIED]:
        parts = [f"Tied: {', '.join(tied(metric))}"]
    else:
        parts = [first["objective"] + (" leads" if verdicts[BEHIND] else " can be told apart from none")]
    parts += [f"behind: {', '.join(verdicts[BEHIND])}"] if verdicts[BEHIND] else []
    parts += [f"only a bound, which decides nothing: {', '.join(verdicts[BOUND])}"] if verdicts[BOUND] else []
    unbeaten = _unbeaten(metric)
    parts += [f"not better than {', '.join(unbeaten)}"] if unbeaten else []
    return "; ".join(parts) + "."


def figure(value: float) -> str:
    """Three digits that matter, at most four places."""
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def unequal(result: dict[str, Any]) -> str | None:
    """What is wrong with "equal compute", where a step is large beside the budget."""
    spent = [entry["flops"] for entry in result["objectives"]]
    if max(spent) <= 1.05 * min(spent) or set(result["budget"]) != {"flops"}:
        return None
    return (
        f"The runs spent from {compact(min(spent))} to {compact(max(spent))} floating-point operations: a step is "
        "large beside this budget. Give them more, or smaller steps."
    )


def contaminated(each: dict[str, Any]) -> str:
    """A sentence on one set of evaluation data: how many training documents contain an item of it."""
    documents = f"{each['documents']:,} training documents contain one" if each["documents"] else "none was found"
    return (
        f"{each['eval_data']}: of {each['items']:,} items of eight words or more, {documents}; {each['too_short']:,} "
        "are shorter and were not looked for."
    )


def figures(result: dict[str, Any]) -> list[TableRow]:
    """A row for each objective and each baseline, a cell for each metric: the one that leads in bold, ties marked."""
    metrics, colours = result["metrics"], colours_of(entry["objective"] for entry in result["objectives"])
    rows = [TableRow(name, [_cell(metric, name) for metric in metrics], colour=one) for name, one in colours.items()]
    for name in dict.fromkeys(name for metric in metrics for name in metric["baselines"]):
        values = [metric["baselines"].get(name) for metric in metrics]
        rows.append(TableRow(name, [None if value is None else Cell(figure(value)) for value in values], "baseline"))
    return rows


def _cell(metric: dict[str, Any], name: str) -> Cell | None:
    found = next((each for each in metric["objectives"] if each["objective"] == name), None)
    if found is None:
        return None
    text = ("≤ " if found["bound"] else "") + figure(found["mean"])
    behind = against_the_best(metric).get(name)
    note = (TIED, "beaten") if name in tied(metric) else (behind["verdict"] if behind else "", "")
    return Cell(text, *note, bold=name == leader(metric))


COSTS = ("learning rate", "FLOPs", "tokens", "time", "trials", "their FLOPs")


def costs(result: dict[str, Any]) -> list[TableRow]:
    """What the runs of each objective took, and its trials (factor: held-out loss), under COSTS."""
    return [
        TableRow(
            entry["objective"],
            [
                Cell(
                    f"{entry['learning_rate']:.3g}",
                    f"x {entry['factor']:g}{', at an end of what was tried' if entry['edge'] else ''}",
                ),
                compact(entry["flops"]),
                compact(entry["tokens"]),
                str(timedelta(seconds=round(entry["seconds"]))),
                Cell(str(len(entry["trials"])), "; ".join(map(_trial, entry["trials"]))) if entry["trials"] else None,
                compact(entry["search"]["flops"]) if entry["trials"] else None,
            ],
        )
        for entry in result["objectives"]
    ]


def _trial(trial: dict[str, Any]) -> str:
    loss = trial["loss"]
    return f"{trial['factor']:g}: " + ("diverged" if loss is None else f"{loss:.3f}")
