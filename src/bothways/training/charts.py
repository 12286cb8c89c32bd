"""Charts that every kind of run has: how it ran, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bothways.html.charts import GREY, SMOOTH_FROM
from bothways.html.curves import Chart, Curve
from bothways.training.record import Record

HOW_IT_RAN = {
    "tokens_per_second": (
        "Speed",
        "Tokens trained on in a second: in pretraining of whole rows, in fine-tuning without padding.",
    ),
    "examples_per_second": ("Examples a second", "Evaluations left out."),
    "useful_share": ("MFU", "Useful FLOPs as a share of this machine's fastest matrix product."),
    "padding": ("Padding", "The share of positions in a batch that hold no text."),
    "learning_rate": ("Learning rate", "How large the steps are: up at first, down towards the end."),
    "gradient_norm": (
        "Gradient norm",
        "How strongly each step pulls, before clipping. Calm is good; a spike is a step to be wary of.",
    ),
}
"""{key in metrics.jsonl: title, caption}; of what a run does not write there is no chart."""


def how_it_ran(record: Record) -> Iterator[Chart]:
    """A chart for each of HOW_IT_RAN that the run wrote down."""
    for key, (title, caption) in HOW_IT_RAN.items():
        curve = replace(Curve.of(title if title == "MFU" else title.lower(), record.train, key), colour=GREY)
        yield Chart(
            title,
            caption,
            smoothed(curve) if key == "gradient_norm" else [curve],
            percent=key in ("useful_share", "padding"),
            from_zero=True,
            whole=key == "learning_rate",
            typical=key in ("tokens_per_second", "examples_per_second", "useful_share"),
        )


def smoothed(curve: Curve) -> list[Curve]:
    """The curve, smoothed before its noise where there are points enough."""
    return [curve.smoothed(), replace(curve, style="noise")] if len(curve.points) >= SMOOTH_FROM else [curve]
