"""Contextuality on one page: every measure over the layers, all models in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bothways.evaluation.inspection.contextuality import Contextuality
from bothways.html import Cell, TableRow, page
from bothways.html.charts import layers

CHARTS = {
    "self_similarity_adjusted": (
        "Self-similarity",
        "Mean cosine of two occurrences of a word, less that of two random ones. Low: its states depend on context.",
    ),
    "intra_sentence_adjusted": (
        "Similarity within a text",
        "Mean cosine of a word to the mean of its text, less that of two random words. High: they grow alike.",
    ),
    "explained_adjusted": (
        "Explained by one vector",
        "Share of a word's occurrences along one vector, the best, less that of as many random ones.",
    ),
    "anisotropy": ("Anisotropy", "Mean cosine of two random words: 0 where states point everywhere."),
}

SHOWN = {
    "self_similarity": "self-similarity",
    "intra_sentence": "similarity within a text",
    "explained": "explained by one vector",
    "explained_random": "the same of random words",
    "anisotropy": "anisotropy",
}


def render(found: Sequence[Contextuality]) -> str:
    """The whole page as HTML."""
    return page(
        "contextuality.html",
        names=", ".join(one.name for one in found),
        charts=[
            layers(title, caption, {one.name: [layer.figures()[key] for layer in one.layers] for one in found})
            for key, (title, caption) in CHARTS.items()
        ],
        heads=["layer", *SHOWN.values()],
        found=[(one, [*_rows(one)]) for one in found],
    )


def _rows(one: Contextuality) -> Iterator[TableRow]:
    for i, layer in enumerate(one.layers):
        figures = layer.figures()
        less = {key: figures.get(f"{key}_adjusted") for key in SHOWN}
        notes = {key: "" if value is None else f"{value:+.3f}" for key, value in less.items()}
        yield TableRow(str(i), [Cell(f"{figures[key]:.3f}", notes[key]) for key in SHOWN])
