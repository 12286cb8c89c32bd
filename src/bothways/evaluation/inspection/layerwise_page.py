"""Layer-wise probes on one page: the task and its control over the layers, all models in one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bothways.evaluation.inspection.contextuality_page import AXIS
from bothways.evaluation.inspection.layerwise import Layer
from bothways.reports.charts import COLOURS, figure
from bothways.reports.curves import Chart, Curve
from bothways.reports.html import Markup, row, table, tag
from bothways.reports.page import document

CHARTS: Sequence[tuple[str, str, Callable[[Layer], float]]] = (
    ("Accuracy", "Test items that a linear probe on the layer gets right. Dashed: always the most common answer.",
     lambda layer: layer.accuracy),
    ("Control", "The same for answers that cannot be in the states: what a probe learns by itself.",
     lambda layer: layer.control),
    ("Selectivity", "Accuracy less control: what is read off the layer.", lambda layer: layer.selectivity),
)  # fmt: skip


def render(found: Mapping[str, Sequence[Layer]], *, task: str) -> str:
    """The whole page as HTML; {model: its layers, the embeddings first}."""
    names = ", ".join(found)
    header = tag(
        "header",
        tag("p", f"Probes of every layer: {task}", class_="kind"),
        tag("h1", names),
        tag("p", "What is written in which layer? (Hewitt & Liang 2019)", class_="lead"),
    )
    charts = [figure(chart, [AXIS], f"picture-{place}") for place, chart in enumerate(_charts(found))]
    sections = [
        tag("section", tag("h2", "Over the layers"), tag("div", *charts, class_="cards")),
        tag("section", tag("h2", "All figures"), *_tables(found)),
    ]
    return document(f"Layers of {names}", header, *sections, foot="Written by Bothways.")


def _charts(found: Mapping[str, Sequence[Layer]]) -> Iterator[Chart]:
    common = next(iter(found.values()))[0].most_common
    for title, caption, value in CHARTS:
        curves = [
            Curve(
                name,
                [({"layer": float(i)}, value(layer)) for i, layer in enumerate(layers)],
                colour=place % COLOURS,
            )
            for place, (name, layers) in enumerate(found.items())
        ]
        levels = [("commonest", common)] if title == "Accuracy" else []
        yield Chart(title, caption, curves, levels, whole=True)


def _tables(found: Mapping[str, Sequence[Layer]]) -> Iterator[Markup]:
    for name, layers in found.items():
        rows = (
            row(str(i), *(f"{value:.3f}" for value in (layer.accuracy, layer.control, layer.selectivity)))
            for i, layer in enumerate(layers)
        )
        yield tag("p", name, class_="about")
        yield table(("layer", "accuracy", "control", "selectivity"), rows)
