"""A comparison on one page that needs nothing else: who is better, is it more than chance, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.evaluation.comparison.config import CompareConfig
from bothways.evaluation.comparison.results import (
    BEHIND,
    TIED,
    Runs,
    against_the_best,
    figure,
    leader,
    summary,
    tied,
    unequal,
)
from bothways.reports.charts import colours_of, pictures
from bothways.reports.curves import Chart, Curve
from bothways.reports.html import Markup, join, row, table, tag, token_name
from bothways.reports.page import document, explained
from bothways.reports.record import Record, number
from bothways.reports.text import section as what_it_read
from bothways.terminal import compact

WORDS = {
    "tied": "The difference is not larger than its interval: chance in seeds and items could have made it.",
    "± after a difference": "The half-width of its 95 % interval. It holds for all pairs of objectives of a yardstick "
    "together (Tukey), and counts both chances: that of the run, from residuals over seeds pooled over the objectives, "
    "and that of the items, from a bootstrap.",
    "bound": "The figure is an upper bound of the true one. A bound that is worse proves nothing; one that is better "
    "does.",
    "learning rate": "Each objective's own: the best of a few short runs by its own loss on held-out text.",
    "FLOPs": "Matrix products, forward and twice that backward, attention counted, look-ups free; a generator's count.",
}


def render(result: dict[str, Any], records: Mapping[str, Sequence[Record]]) -> str:
    """The whole page as HTML; `records` are the runs of each objective."""
    colours = colours_of(entry["objective"] for entry in result["objectives"])
    sections = [
        _figures(result, colours),
        _verdicts(result),
        _curves(records, colours),
        *(what_it_read(some[0]) for some in list(records.values())[:1]),  # all read the same
        _samples(result["samples"], colours),
        _costs(result),
        explained(WORDS),
    ]
    names = ", ".join(colours)
    header = tag(
        "header",
        tag("p", "A Bothways comparison", class_="kind"),
        tag("h1", f"{len(colours)} objectives at equal compute"),
        tag(
            "p",
            f"{names}: the same text, tokenizer, body and data order, and the same compute for each.",
            class_="lead",
        ),
        *(tag("p", said, class_="note") for said in [unequal(result)] if said),
        tag("dl", *_tiles(result), class_="tiles"),
    )
    return document("A Bothways comparison", header, *sections, foot="Written by Bothways; comparison.json has it all.")


def records(config: CompareConfig, runs: Runs) -> dict[str, list[Record]]:
    """What the runs wrote down."""
    return {name: [Record.read(runs[name, seed].path) for seed in range(config.seeds)] for name in config.objectives}


def _tiles(result: dict[str, Any]) -> Iterator[Markup]:
    (unit, amount), *_ = result["budget"].items()
    trials = sum(entry["search"]["flops"] for entry in result["objectives"])
    spent = trials + sum(entry["flops"] for entry in result["objectives"]) * result["seeds"]
    for name, value, note in (
        ("Budget of a run", compact(amount), unit if unit != "flops" else "floating-point operations"),
        ("Seeds", str(result["seeds"]), "runs of each objective"),
        ("Size", result["size"], f"{compact(result['objectives'][0]['parameters'])} weights"),
        ("Search", f"{trials / spent:.0%}", "of all operations, for learning rates"),
    ):
        yield tag(
            "div",
            tag("dt", name),
            tag("dd", value, class_="figure"),
            tag("dd", note, class_="unit"),
            class_="tile",
        )


def _name(name: str, colours: Mapping[str, int]) -> Markup:
    return join(tag("i", class_=f"swatch colour-{colours[name]}"), name)


def _figures(result: dict[str, Any], colours: Mapping[str, int]) -> Markup:
    heads = [join(each["short"], tag("small", f"{each['better']} is better")) for each in result["yardsticks"]]
    rows = [
        row(_name(name, colours), *(_cell(yardstick, name) for yardstick in result["yardsticks"])) for name in colours
    ]
    plain = dict.fromkeys(name for yardstick in result["yardsticks"] for name in yardstick["baselines"])
    for name in plain:
        cells = [yardstick["baselines"].get(name) for yardstick in result["yardsticks"]]
        rows.append(row(name, *("–" if value is None else figure(value) for value in cells), class_="baseline"))
    return tag(
        "section",
        tag("h2", "The same questions to all"),
        tag(
            "p",
            "Means over the seeds. Bold: better than all others and than what needs no training (below); “tied”: the "
            "best mean and those not told apart from it. A dash: the objective does not teach it.",
            class_="about",
        ),
        table(("", *heads), rows),
    )


def _cell(yardstick: dict[str, Any], name: str) -> Iterator[str]:
    standing = next((each for each in yardstick["objectives"] if each["objective"] == name), None)
    if standing is None:
        yield "–"
        return
    text = ("≤ " if standing["bound"] else "") + figure(standing["mean"])
    yield tag("b", text) if name == leader(yardstick) else text
    behind = against_the_best(yardstick).get(name)
    if name in tied(yardstick):
        yield tag("small", TIED, class_="beaten")
    elif behind:
        yield tag("small", behind["verdict"])


def _verdicts(result: dict[str, Any]) -> Markup:
    said = [
        part
        for yardstick in result["yardsticks"]
        for part in (
            tag("dt", f"{yardstick['name']} ({yardstick['short']}, {yardstick['items']:,} items)"),
            tag("dd", yardstick["about"], tag("br"), tag("b", summary(yardstick)), _pairs(yardstick)),
        )
    ]
    checked = [tag("li", _overlap(each)) for each in result["overlap"]]
    overlap = [tag("h3", "Were the questions in the text?"), tag("ul", *checked)] if checked else []
    return tag(
        "section", tag("h2", "More than chance?"), tag("div", tag("dl", *said, class_="words"), *overlap, class_="card")
    )


def _overlap(each: dict[str, Any]) -> str:
    documents = f"{each['documents']:,} training documents contain one" if each["documents"] else "none was found"
    return (
        f"{each['questions']}: of {each['items']:,} items of eight words or more, {documents}; {each['too_short']:,} "
        "are shorter and were not looked for."
    )


def _pair(each: dict[str, Any]) -> str:
    return f"{each['better']} {'over' if each['verdict'] == BEHIND else 'and'} {each['worse']}"


def _pairs(yardstick: dict[str, Any]) -> Markup:
    """Every difference with its interval, folded away."""
    rows = [
        tag(
            "tr",
            tag("th", _pair(each), scope="row"),
            tag("td", f"{figure(each['difference'])} ± {figure(each['half_width'])}"),
            tag("td", each["verdict"]),
        )
        for each in yardstick["differences"]
    ]
    spread = yardstick["seed_sd"]
    note = f"One run differs from its objective's mean by {figure(spread)} (standard deviation)." if spread else ""
    table = tag("table", *rows, class_="facts")
    return tag("details", tag("summary", "All differences"), tag("p", note), table) if rows else Markup()


def _curves(records: Mapping[str, Sequence[Record]], colours: Mapping[str, int]) -> Markup:
    every = [record for some in records.values() for record in some]
    lines = [line for record in every for line in record.validation]
    charts = []
    for title, caption, keys, percent in (
        ("Bits per byte", "Lower is better.", ("bits_per_byte", "causal"), False),
        ("Next words guessed right", "Higher is better.", ("next_accuracy",), True),
        ("Hidden words guessed right", "Higher is better.", ("fill_accuracy",), True),
    ):
        curves = [curve for name, some in records.items() for curve in _of_seeds(name, some, colours[name], *keys)]
        grams = [(gram, record.baseline(gram, keys[0])) for record in every[:1] for gram in NAMES]
        levels = [(gram, value) for gram, value in grams if value is not None]
        charts.append(Chart(title, caption, curves, levels if curves else (), percent=percent))
    about = "Held-out text during training: thick, the mean over the seeds; thin, each seed. Dashed: counting models."
    return pictures({"": charts}, lines, title="Learning against compute", about=about, first="flops")


def _of_seeds(name: str, some: Sequence[Record], colour: int, *keys: str) -> Iterator[Curve]:
    """Every run thin, and their mean, validation by validation."""
    single = [replace(Curve.of(name, record.validation, *keys), style="noise", colour=colour) for record in some]
    if not all(curve.points for curve in single):
        return
    points = [
        ({axis: sum(number(line, axis) or 0.0 for line, _ in at) / len(at) for axis in at[0][0]}, _mean(at))
        for at in zip(*(curve.points for curve in single), strict=False)
    ]
    yield Curve(name, points, colour=colour)
    yield from single if len(single) > 1 else ()


def _mean(points: Sequence[tuple[dict[str, Any], float]]) -> float:
    return sum(value for _, value in points) / len(points)


def _samples(found: Mapping[str, dict[str, Any]], colours: Mapping[str, int]) -> Markup:
    """What each objective's first run says of the same text, side by side."""
    fills: dict[str, list[Markup]] = {}
    writings: dict[str, list[Markup]] = {}
    for name, said in found.items():
        for fill in said.get("fills", ()):
            guesses = ", ".join(
                f"{token_name(each['token'])} {each['probability']:.0%}" for each in fill["answers"][:3]
            )
            fills.setdefault(f"{fill['text']}  ({fill['hidden']})", []).append(row(_name(name, colours), guesses))
        for each in said.get("detections", ()):
            words = sorted(each["words"], key=lambda word: -word["replaced"])[:3]
            judged = "replaced? " + ", ".join(f"{word['word']} {word['replaced']:.0%}" for word in words)
            verdict = row(_name(name, colours), f"“{each['instead']}” put in; {judged}")
            fills.setdefault(f"{each['text']}  ({each['hidden']})", []).append(verdict)
        for each in said.get("continuations", ()):
            rest = each["text"].removeprefix(each["prompt"]).removesuffix(each["prompt"])
            writings.setdefault(each["prompt"], []).append(row(_name(name, colours), rest))
    if not fills and not writings:
        return Markup()
    cards = [
        tag("article", tag("p", text, class_="fill"), tag("table", *rows, class_="facts"), class_="card")
        for text, rows in (*fills.items(), *writings.items())
    ]
    about = "Hidden words (the right one in brackets) with the first guesses, and beginnings as each goes on. Seed 0."
    return tag(
        "section",
        tag("h2", "In their own words"),
        tag("p", about, class_="about"),
        tag("div", *cards, class_="cards"),
    )


def _costs(result: dict[str, Any]) -> Markup:
    heads = ("learning rate", "operations", "tokens read", "time", "trials", "their operations")
    rows = [
        row(
            entry["objective"],
            [f"{entry['learning_rate']:.3g}", tag("small", _factor(entry))],
            compact(entry["flops"]),
            compact(entry["tokens"]),
            str(timedelta(seconds=round(entry["seconds"]))),
            [tag("small", _trial(trial)) for trial in entry["trials"]] or "–",
            compact(entry["search"]["flops"]) if entry["trials"] else "–",
        )
        for entry in result["objectives"]
    ]
    return tag(
        "section",
        tag("h2", "What it took"),
        tag("p", "Of each run, and of the search for each learning rate: factor, held-out loss.", class_="about"),
        table(("", *heads), rows),
    )


def _factor(entry: dict[str, Any]) -> str:
    end = ", at an end of what was tried" if entry["edge"] else ""
    return f"{entry['factor']:g} times the default{end}"


def _trial(trial: dict[str, Any]) -> str:
    loss = trial["loss"]
    return f"{trial['factor']:g}: " + ("diverged" if loss is None else f"{loss:.3f}")
