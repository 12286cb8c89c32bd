"""Contextuality on one page: every measure over the layers, all models in one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bothways.evaluation.inspection.contextuality import Contextuality
from bothways.reports.charts import COLOURS, figure
from bothways.reports.curves import Axis, Chart, Curve
from bothways.reports.html import Markup, join, row, table, tag
from bothways.reports.page import document

AXIS = Axis("layer", "Layers", "layers from the embeddings")
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
    names = ", ".join(one.name for one in found)
    header = tag(
        "header",
        tag("p", "Contextuality", class_="kind"),
        tag("h1", names),
        tag("p", "How much a word's state depends on the text around it (Ethayarajh 2019).", class_="lead"),
    )
    charts = [figure(_chart(found, key), [AXIS], f"picture-{place}") for place, key in enumerate(CHARTS)]
    sections = [
        tag("section", tag("h2", "Over the layers"), tag("div", *charts, class_="cards")),
        tag("section", tag("h2", "All figures"), *_tables(found)),
        tag("section", tag("h2", "Words of the last layer"), *_words(found)),
    ]
    return document(f"Contextuality of {names}", header, *sections, foot="Written by Bothways.")


def _chart(found: Sequence[Contextuality], key: str) -> Chart:
    title, caption = CHARTS[key]
    curves = [
        Curve(
            one.name,
            [({"layer": float(i)}, layer.figures()[key]) for i, layer in enumerate(one.layers)],
            colour=place % COLOURS,
        )
        for place, one in enumerate(found)
    ]
    return Chart(title, caption, curves, whole=True)


def _tables(found: Sequence[Contextuality]) -> Iterator[Markup]:
    yield tag("p", "Small: the same less its baseline.", class_="about")
    for one in found:
        way = "from all sides" if one.reads == "all sides" else one.reads
        unknown = f"; {one.unknown:,} left out, unknown to the tokenizer" if one.unknown else ""
        said = f"{one.name}: {one.tokens:,} tokens read {way}, {len(one.words):,} words in five texts or more{unknown}."
        yield tag("p", said, class_="about")
        rows = (row(str(i), *_cells(layer.figures())) for i, layer in enumerate(one.layers))
        yield table(("layer", *SHOWN.values()), rows)


def _cells(said: dict[str, float]) -> Iterator[list[str]]:
    for key in SHOWN:
        less = said.get(f"{key}_adjusted")
        yield [f"{said[key]:.3f}", *([] if less is None else [tag("small", f"{less:+.3f}")])]


def _words(found: Sequence[Contextuality]) -> Iterator[Markup]:
    yield tag("p", "Self-similarity less the anisotropy, lowest and highest.", class_="about")
    for one in found:
        most, least = one.extremes(-1)
        for title, words in (("most contextual", most), ("least contextual", least)):
            said = join(*(join(tag("b", word.strip()), f"\N{NO-BREAK SPACE}{value:.2f}  ") for word, value in words))
            yield tag("div", tag("h3", f"{one.name}, {title}"), tag("p", said), class_="card")
