"""The parts of a run's report that are words and figures: final figures, samples, what was run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bothways.corpus.ngrams import NAMES
from bothways.reports.html import Markup, join, row, table, tag, token_name
from bothways.reports.record import Record, number, part

TOLD_ELSEWHERE = frozenset({"status", "baselines", "samples", "text"})
MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True, slots=True)
class _Column:
    """One figure: the run's, and those of the n-grams that can be held against it."""

    name: str
    note: str
    ours: float | None
    theirs: dict[str, float | None]
    percent: bool = False

    def text(self, value: float) -> str:
        return f"{value:.1%}" if self.percent else f"{value:.3f}"

    def beside(self, theirs: float) -> Markup:
        """In small print under a baseline's figure: is the run better, and by how much?"""
        if self.ours is None:
            return Markup()
        gain = self.ours - theirs if self.percent else theirs - self.ours
        size = f"{100 * abs(gain):.1f} points" if self.percent else f"{abs(gain):.3f}"
        if not float(size.split()[0]):
            return tag("small", "the same")
        return tag("small", f"beaten by {size}", class_="beaten") if gain > 0 else tag("small", f"ahead by {size}")


def final_figures(record: Record) -> Markup:
    """The last validation beside the n-grams; empty when there is neither."""
    columns = [column for column in _columns(record) if column.ours is not None or any(column.theirs.values())]
    if not columns:
        return Markup()
    heads = [join(column.name, tag("small", column.note)) for column in columns]
    ours = ["–" if column.ours is None else column.text(column.ours) for column in columns]
    rows = [row("This run", *ours, class_="ours")] if record.validation else []
    rows += [
        row(gram.capitalize(), *(_cell(column, column.theirs.get(gram)) for column in columns))
        for gram in reversed(NAMES)
        if part(record.manifest, "baselines", gram)
    ]
    step = number(record.validation[-1], "step") if record.validation else None
    when = "Measured on held-out text" + (f" after step {step:,.0f}" if step is not None else "")
    return tag(
        "section",
        tag("h2", "Against counting"),
        tag(
            "p",
            f"{when}, beside models that only count tokens, pairs and triples of tokens.",
            *_cut(record),
            class_="about",
        ),
        table(("", *heads), rows),
    )


def _columns(record: Record) -> Iterator[_Column]:
    def grams(key: str, names: tuple[str, ...] = NAMES) -> dict[str, float | None]:
        return {name: record.baseline(name, key) for name in names}

    for name in record.objectives:
        theirs = grams("nats", record.counted(name))
        yield _Column(f"Loss: {name}", "nats, lower is better", record.final("losses", name), theirs)
    one_way = [name for name in record.objectives if record.reads_one_way(name)]
    for name in one_way or [""]:
        bits = record.final("bits_per_byte", name) if name else None
        title = f"Bits per byte: {name}" if len(one_way) > 1 else "Bits per byte"
        yield _Column(title, "lower is better", bits, grams("bits_per_byte"))
    following, filled = record.final("next_accuracy"), record.final("fill_accuracy")
    yield _Column("Next token right", "higher is better", following, grams("next_accuracy"), percent=True)
    yield _Column("Hidden token right", "higher is better", filled, grams("fill_accuracy", NAMES[:1]), percent=True)


def _cell(column: _Column, value: float | None) -> tuple[Markup | str, ...]:
    return ("–",) if value is None else (column.text(value), column.beside(value))


def _cut(record: Record) -> Iterator[str]:
    counted, of = (record.baseline("unigram", key) for key in ("counted", "of"))
    if counted is not None and of is not None and counted < of:
        yield f" They counted {counted:,.0f} of the {of:,.0f} tokens of the training text, spread evenly over it."


def samples(record: Record) -> Markup:
    """What the model fills in, how it goes on, and what it finds; empty when nothing was sampled."""
    found = part(record.manifest, "samples")
    fills = [_fill(fill) for fill in _records(found.get("fills"))]
    continuations = [_continuation(each) for each in _records(found.get("continuations"))]
    detections = [_detection(each) for each in _records(found.get("detections"))]
    parts: list[Markup] = []
    if fills:
        parts += [tag("p", "The gap it was given, and its first guesses with their probability.", class_="about")]
        parts += [tag("div", *fills, class_="cards")]
    if continuations:
        parts += [tag("p", "What it was given, in bold, and what it wrote.", class_="about")]
        parts += [tag("div", *continuations, class_="cards")]
    if detections:
        parts += [tag("p", "A word was put in by the generator; the chance of each that it was.", class_="about")]
        parts += [tag("div", *detections, class_="cards")]
    return tag("section", tag("h2", "In its own words"), *parts) if parts else Markup()


def _fill(fill: dict[str, Any]) -> Markup:
    text = str(fill.get("text", ""))
    mask = next((mask for mask in MASKS if mask in text), MASKS[0])
    tokens = text.split(mask)
    shown = [join(tag("mark", "?") if place else Markup(), token) for place, token in enumerate(tokens)]
    answers = []
    for answer in _records(fill.get("answers")):
        share = min(1.0, max(0.0, number(answer, "probability") or 0.0))
        bar = tag("span", tag("span", style=f"width: {100 * share:.1f}%"), class_="bar")
        token = tag("span", token_name(str(answer.get("token", ""))))
        answers.append(tag("li", token, bar, tag("span", f"{share:.1%}", class_="share")))
    return tag("article", tag("p", *shown, class_="fill"), tag("ol", *answers, class_="answers"), class_="card")


def _continuation(sample: dict[str, Any]) -> Markup:
    prompt, text = str(sample.get("prompt", "")), str(sample.get("text", ""))
    before, prompt, after = text.partition(prompt) if prompt in text else ("", prompt, text)
    return tag("blockquote", before, tag("b", prompt), after, class_="card")


def _detection(sample: dict[str, Any]) -> Markup:
    """The words, darker the likelier they were replaced; the three likeliest with their chance."""
    words = [(str(each.get("word", "")), number(each, "replaced") or 0.0) for each in _records(sample.get("words"))]
    listed = sorted((chance for _, chance in words), reverse=True)[:3]
    shown = []
    for word, chance in words:
        strength = round(100 * min(1.0, max(0.0, chance)))
        style = f"background: color-mix(in srgb, var(--accent) {strength // 2}%, transparent)"
        said = tag("sub", f"{chance:.0%}") if chance in listed else Markup()
        shown += [tag("span", word, said, style=style), " "]
    instead = tag("p", f"“{sample.get('instead', '')}” stands for “{sample.get('hidden', '')}”", class_="about")
    return tag("article", tag("p", *shown, class_="fill"), instead, class_="card")


def _records(found: object) -> list[dict[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def facts(record: Record) -> Markup:
    """Model, data, versions and whatever else the manifest holds, and the resolved configuration."""
    cards = []
    loose = {}
    for name, value in record.manifest.items():
        if name in TOLD_ELSEWHERE:
            continue
        if isinstance(value, dict):
            cards += [_facts(name, value)] if value else []
        else:
            loose[name] = value
    cards += [_facts("run", loose)] if loose else []
    config = (
        tag(
            "details",
            tag("summary", "The resolved configuration (config.yaml)"),
            tag("pre", record.config),
            class_="card",
        )
        if record.config.strip()
        else Markup()
    )
    if not cards and not config:
        return Markup()
    return tag("section", tag("h2", "What was run"), tag("div", *cards, class_="columns"), config)


def _facts(title: str, values: dict[str, Any]) -> Markup:
    rows = [row(name, said) for name, said in _flat(values)]
    return tag(
        "div", tag("h3", title.replace("_", " ").capitalize()), tag("table", *rows, class_="facts"), class_="card"
    )


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value)) or "–"
        elif isinstance(value, bool) or value is None:
            yield name, {True: "yes", False: "no", None: "–"}[value]
        elif isinstance(value, int):
            yield name, f"{value:,}"
        else:
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)
