"""A fine-tuning run as one HTML page: scores, curves, confusions, calibration, where it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from bothways.files import write_text
from bothways.html import Cell, KeyFigure, TableRow, page
from bothways.html.charts import GREY, histogram, pictures
from bothways.html.curves import Axis, Chart, Curve
from bothways.model import TaskHead
from bothways.statistics import calibration
from bothways.tasks.labels import labels_in, natural
from bothways.tasks.source_use import SourceUse
from bothways.tasks.task import Example, Task
from bothways.training.charts import how_it_ran, smoothed
from bothways.training.record import Record

CONFIDENCE = Axis("confidence", "Confidence", "confidence of the prediction, in percent")
BY_CLASS = {
    "examples": "Label by label",
    "texts": "Intent by intent",
    "names": "Names, kind by kind",
    "words": "Tag by tag",
}
"""{what `Task.by_class` counts: the heading of its table}"""
MOST_LABELS, MOST_MISTAKES, MOST_TEXTS = 20, 20, 10
DEV = 1  # colour
LONGEST_TEXT = 600  # characters of an example that are shown
OF_ANSWERS = (
    ("kl", "KL to the model before", "How far sampled answers are from what the model said before, in nats an answer."),
    ("reward", "Reward of sampled answers", "Of the answers of every step, and of those to dev prompts."),
)
"""(key of a score, title, caption) of the charts of a model's own answers."""
IN_WORDS = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "matthews": "Matthews correlation",
    "spearman": "Spearman correlation",
    "pearson": "Pearson correlation",
    "mean_squared_error": "mean squared error",
    "exact": "exact match",
    "whole": "intent and slots right",
    "intent_accuracy": "intent accuracy",
    "mrr": "mean reciprocal rank",
    "recall_at_1": "recall at 1",
    "recall_at_10": "recall at 10",
    "mrr@10": "mean reciprocal rank at 10",
    "ndcg@10": "NDCG at 10",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "distinct_1": "distinct words",
    "distinct_2": "distinct pairs of words",
    "copied": "copied from the source",
    "words": "words in a text",
    "margin": "margin between the rewards",
    "kl": "KL to the model before",
    "tokens": "tokens in an answer",
}
"""What metrics are called on the page, where that is not their key."""


def write_report(
    folder: Path,
    task: Task,
    examples: Sequence[Example],
    predictions: Sequence[dict[str, Any]],
    head: TaskHead,
    *,
    where: str,
) -> Path:
    """Writes report.html into a run's folder; `examples` are those it is measured on, `where` what they are called."""
    part = task_part(task, examples, predictions, head, where=where)
    return write_page(folder, [part], labelled=any(labels_in(example.gold) for example in examples))


def write_page(folder: Path, parts: Sequence[dict[str, Any]], *, labelled: bool) -> Path:
    """The same with what is to be shown of its predictions; `labelled`: whether its labels are listed."""
    record = Record.read(folder)
    path = folder / "report.html"
    html = page(
        "finetuning.html",
        record=record,
        tiles=[*_tiles(record)],
        heads=["", *map(in_words, record.validation[-1]["scores"])],
        scores=[*_scores(record)],
        charts=_curves(record),
        lengths=lengths_of(record.manifest),
        conversation=record.manifest.get("conversation"),
        held_out=[*_held_out(record.manifest, record.validation[-1]["scores"])],
        parts=parts,
        facts=facts_of_task(record.manifest, labelled=labelled),
    )
    write_text(path, html)
    return path


def _held_out(manifest: dict[str, Any], metrics: Iterable[str]) -> Iterator[TableRow]:
    """How the model does on tasks of a mixture that it was not taught, before the others and after."""
    for name, one in (manifest.get("held_out") or {}).items():
        for when, style in (("before", ""), ("after", "ours")):
            cells = [f"{one[when][metric]:.4f}" for metric in metrics]
            yield TableRow(f"{name}, {when} ({one['examples']})", cells, style)


def lengths_of(manifest: dict[str, Any]) -> Markup:
    """How long the training texts were."""
    return histogram(
        manifest["lengths"],
        about="Tokens of the training texts, specials included, cut where the model ends. Columns double in width.",
        what="texts",
    )


def task_part(
    task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead, *, where: str
) -> dict[str, Any]:
    """What the page shows of one task's predictions: labels one by one, confusions, calibration, mistakes."""
    classes = any(isinstance(example.gold, str) for example in examples) and all(  # one label
        isinstance(one.get("label"), str) and "probabilities" in one for one in predictions
    )
    wrong = [
        (*mistake, example)
        for example, one in zip(examples, predictions, strict=True)
        if (mistake := task.mistake(example, one, head)) is not None
    ]
    mistakes = sorted(wrong, key=lambda one: -one[0])[:MOST_MISTAKES]
    return {
        "where": where,
        "answers": [],
        "classes": [*_classes(task, examples, predictions, head)] if task.key else [],
        "confusion": _confusion(examples, predictions, head) if classes else None,
        "calibration": _calibration(examples, predictions) if classes else None,
        "written": _written(task, examples, predictions, head) if task.writes else [],
        "mistakes": [
            (short(" / ".join(text for text in example.texts if text)), [*_things(example), *facts])
            for _, facts, example in mistakes
        ],
    }


def _written(
    task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> list[tuple[str, list[TableRow]]]:
    """The best and the worst texts by the score of each, beside source and reference."""
    scores, _ = task.items(examples, predictions, head)
    order = np.argsort(-scores, kind="stable")
    most = min(MOST_TEXTS, len(order) // 2) or len(order)

    def row(i: int) -> TableRow:
        texts = [examples[i].texts[0], " / ".join(examples[i].gold), predictions[i]["text"] or "(nothing)"]
        return TableRow(f"{scores[i]:.3f}", [short(text) for text in texts])

    sides = {"The best": order[:most], "The worst": order[::-1][:most]}
    return [(title, [row(i) for i in some.tolist()]) for title, some in sides.items()]


def in_words(metric: str) -> str:
    """A metric's name as one writes it."""
    if metric.startswith("slot_"):
        return f"slots: {in_words(metric.removeprefix('slot_'))}"
    return IN_WORDS.get(metric, metric)


def title_of(metric: str) -> str:
    """The same with a capital letter, beside other titles."""
    name = in_words(metric)
    return name[:1].upper() + name[1:]


def _why(record: Record) -> str:
    """Why an epoch was kept: it was the best, or the first of those that were alike."""
    first, *_ = record.manifest["best"]["scores"]
    best = max(line["scores"][first] for line in record.validation)
    alike = [str(line["epoch"]) for line in record.validation if line["scores"][first] == best]
    return f"best {in_words(first)} on dev" if len(alike) == 1 else f"the first of {', '.join(alike)}: alike on dev"


def _tiles(record: Record) -> Iterator[KeyFigure]:
    manifest = record.manifest
    scores = manifest.get("test") or manifest["best"]["scores"]
    where = "on the test examples" if manifest.get("test") else "on the dev examples"
    always = (manifest.get("majority") or {"scores": {}})["scores"]
    for name, value in list(scores.items())[:4]:
        beside = f"; {always[name]:.3f} by the commonest label alone" if name in always else ""
        yield KeyFigure(title_of(name), f"{value:.3f}", f"{where}{beside}")
    examples = manifest["examples"]
    yield KeyFigure("Examples", f"{examples['train']:,}", f"train; {examples['dev']:,} dev, {examples['test']:,} test")
    yield KeyFigure("Epoch kept", str(manifest["best"]["epoch"]), _why(record))


def _scores(record: Record) -> Iterator[TableRow]:
    """The scores of every epoch, of the test with its interval, and of always the commonest label."""
    names = list(record.validation[-1]["scores"])
    for line in record.validation:
        yield TableRow(f"Epoch {line['epoch']}", [f"{line['scores'][name]:.4f}" for name in names])
    test, spans = record.manifest.get("test"), record.manifest.get("test_intervals")
    if test and spans:
        yield TableRow("Test", [with_ends(test[name], spans[name]) for name in names], "ours")
    if before := record.manifest.get("before"):
        spans = before["better_by"]
        cells = [
            Cell(f"{before['scores'][name]:.4f}", f"more by {spans[name][0]:.3f} to {spans[name][1]:.3f} now")
            for name in names
        ]
        yield TableRow(f"Before, {before['where']}", cells)
    if majority := record.manifest.get("majority"):
        always = f"Always {majority['answer']!r}, {'test' if test else 'dev'}"
        yield TableRow(always, [f"{majority['scores'][name]:.4f}" for name in names])
    for rule, found in (record.manifest.get("baselines") or {}).items():
        spans, where = found["intervals"], "test" if test else "dev"
        yield TableRow(f"{rule}, {where}", [with_ends(found["scores"][name], spans[name]) for name in names])


def with_ends(score: float, ends: Sequence[float], *, sign: str = "") -> Cell:
    """A figure above the ends of its interval."""
    low, high = ends
    return Cell(f"{score:{sign}.4f}", f"{low:{sign}.3f} to {high:{sign}.3f}")


def _curves(record: Record) -> Markup:
    first = next(iter(record.validation[-1]["scores"]))
    curve = Curve.of(in_words(first), record.validation, "scores", first)
    charts = [Chart(title_of(first), "On the dev examples.", [curve]), *_of_answers(record)]
    return over_the_run(record, "that of dev examples after every epoch.", charts)


def over_the_run(record: Record, dev_loss: str, charts: Sequence[Chart]) -> Markup:
    """The loss, such charts, and how it ran; `dev_loss` says what the loss on dev is."""
    loss = replace(Curve.of("training", record.train, "loss"), style="training")
    dev = replace(Curve.of("dev", record.validation, "loss"), colour=DEV)
    losses = Chart("Loss", f"What is minimised; {dev_loss}", [dev, *smoothed(loss)])
    return pictures(
        {"": [losses, *charts, *how_it_ran(record)]},
        record.train,
        title="Over the run",
        about="Count in steps or in time. Steep beginnings run off the top.",
        first="step",
    )


def _of_answers(record: Record) -> Iterator[Chart]:
    """What a run by preferences or by a reward says of the answers that it samples: in every step, and to dev prompts
    after every epoch."""
    for key, title, caption in OF_ANSWERS:
        steps = Curve.of("training", record.train, key)
        dev = replace(Curve.of("dev", record.validation, "scores", key), colour=DEV)
        if key in record.validation[-1]["scores"]:
            yield Chart(title, caption, [dev, *(smoothed(replace(steps, style="training")) if steps.points else [])])


def _confusion(
    examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> tuple[list[str], list[tuple[str, list[tuple[int, str, float]]]], int]:
    """The confusion matrix of the commonest labels: them; (label, (count, good or warn, strength in %) of each
    prediction) of each; how many labels there are."""
    golds = [example.gold for example in examples]
    labels = sorted(head.labels, key=lambda label: -golds.count(label))[:MOST_LABELS]
    counts = Counter(zip(golds, (one["label"] for one in predictions), strict=True))
    most = max(counts.values())
    rows = []
    for gold in labels:
        row = [(counts[gold, label], "good" if gold == label else "warn") for label in labels]
        rows.append((gold, [(count, colour, 60 * count / most) for count, colour in row]))
    return labels, rows, len(head.labels)


def _classes(
    task: Task, examples: Sequence[Example], predictions: Sequence[dict[str, Any]], head: TaskHead
) -> Iterator[tuple[str, str, list[TableRow], int]]:
    """Of each kind of thing that has a class: heading, what is counted, the table, how many classes there are. In it
    precision, recall, F1 and count of the commonest classes; what is a share of nothing is not known."""
    counted: dict[str, tuple[Counter[str], Counter[str], Counter[str]]] = {}
    for example, one in zip(examples, predictions, strict=True):
        true, found = (task.by_class(answer, head) for answer in (example.gold, task.predicted(one)))
        for what, things in true.items():
            hits = {*things} & {*found.get(what, [])}
            sides = counted.setdefault(what, (Counter(), Counter(), Counter()))
            for side, some in zip(sides, (things, found.get(what, []), hits), strict=True):
                side.update(name for name, _ in some)
    for what, (true_count, found_count, right) in counted.items():
        known = head.labels if what == "examples" else sorted({**true_count, **found_count}, key=natural)
        if not true_count and not found_count:
            continue
        rows = []
        for label in sorted(known, key=lambda label: -true_count[label])[:MOST_LABELS]:
            of = (found_count[label], true_count[label], (found_count[label] + true_count[label]) / 2)
            shares = [f"{right[label] / count:.3f}" if count else None for count in of]
            rows.append(TableRow(label, [*shares, f"{true_count[label]:,}"]))
        yield BY_CLASS[what], what, rows, len(known)


def _calibration(
    examples: Sequence[Example], predictions: Sequence[dict[str, Any]]
) -> tuple[float, list[TableRow], Chart, Sequence[Axis]]:
    """The expected calibration error, and how often it was right at each confidence, as a table and as a picture."""
    chances = np.array([one["probabilities"][one["label"]] for one in predictions])
    right = np.array([one["label"] == example.gold for example, one in zip(examples, predictions, strict=True)])
    error, bins = calibration(chances, right)
    rows = [TableRow(f"{mean:.0%} confident", [f"{true:.0%}", f"{count:,}"]) for mean, true, count in bins]
    curves = [
        Curve("right", [({CONFIDENCE.key: 100 * mean}, true) for mean, true, _ in bins]),
        Curve("as sure", [({CONFIDENCE.key: 100 * at}, at) for at in (0.0, 1.0)], style="training", colour=GREY),
    ]
    caption = (
        "Below the grey line it is surer than it is right, above it less sure. Dots: means of tenths of the scale."
    )
    return error, rows, Chart("Reliability", caption, curves, percent=True, whole=True, names=True), [CONFIDENCE]


def _things(example: Example) -> Sequence[tuple[str, str]]:
    """Of a relation: between what."""
    if example.pair is None:
        return ()
    things = (example.pair.text[start:end] for start, end in example.pair.things)
    return tuple(zip(("first", "second"), things, strict=True))


def short(text: str) -> str:
    """As much of a text as the page shows."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def facts_of_task(manifest: dict[str, Any], *, labelled: bool, precision: bool = True) -> list[tuple[str, str]]:
    """How a task's files were read."""
    return [
        ("Columns", manifest["columns"]),
        *([("Adapter", adapter_line(adapter))] if (adapter := manifest.get("adapter")) else []),
        *([("Objective", "{name}: {why}".format(**taught))] if (taught := manifest.get("objective")) else []),
        *([("Source use", str(SourceUse(**use)))] if (use := _use(manifest)) else []),
        *([("Tags", manifest["tags"])] if manifest.get("tags") else []),
        ("Cut texts", cut_texts(manifest["truncated"])),
        ("Skipped records", "; ".join(manifest.get("skipped", [])[:MOST_MISTAKES]) or "none"),
        *([("Precision", manifest["precision"])] if precision else []),
        *([("Labels", ", ".join(manifest["labels"]))] if labelled and manifest["labels"] else []),
    ]


def _use(manifest: dict[str, Any]) -> dict[str, Any]:
    told = manifest.get("shuffled_source") or {}
    return {key: value for key, value in told.items() if key != "ignored"}


def adapter_line(adapter: Mapping[str, Any]) -> str:
    """Which adapter, and how much learned beside how much that is frozen; `adapter` is what the manifest says of it."""
    whole = adapter["of"] + adapter["parameters"] + adapter["new_head_parameters"]
    head = f" and {adapter['new_head_parameters']:,} of new heads" if adapter["new_head_parameters"] else ""
    share = (adapter["parameters"] + adapter["new_head_parameters"]) / whole
    return f"{adapter['expression']}: {adapter['parameters']:,} weights{head} learned, {share:.2%} of {whole:,}"


def cut_texts(truncated: dict[str, int]) -> str:
    """How many were longer than is read, of which file."""
    counts = ", ".join(f"{truncated[side]} of {side}" for side in ("train", "dev", "test") if truncated.get(side))
    return f"{counts}, at {truncated['length']} tokens" if counts else "none"
