"""Layer-wise probes on one page: the task and its control over the layers, all models in one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bothways.evaluation.inspection.layerwise import Layer
from bothways.html import TableRow, page
from bothways.html.charts import layers as layers_chart

CHARTS: Sequence[tuple[str, str, Callable[[Layer], float]]] = (
    ("Accuracy", "Test items that a linear probe on the layer gets right. Dashed: always the most common label.",
     lambda layer: layer.accuracy),
    ("Control", "The same for labels that cannot be in the states: what a probe learns by itself.",
     lambda layer: layer.control),
    ("Selectivity", "Accuracy less control: what is read off the layer.", lambda layer: layer.selectivity),
)  # fmt: skip


def render(found: Mapping[str, Sequence[Layer]], *, task: str) -> str:
    """The whole page as HTML; {model: its layers, the embeddings first}."""
    common = next(iter(found.values()))[0].most_common
    return page(
        "layerwise.html",
        names=", ".join(found),
        task=task,
        charts=[
            layers_chart(
                title,
                caption,
                {name: [value(layer) for layer in layers] for name, layers in found.items()},
                [("commonest", common)] if title == "Accuracy" else [],
            )
            for title, caption, value in CHARTS
        ],
        tables={
            name: [
                TableRow(str(i), [f"{value(layer):.3f}" for _, _, value in CHARTS]) for i, layer in enumerate(layers)
            ]
            for name, layers in found.items()
        },
    )
