"""Attention on one page: a square a head, weights under the pointer, what each head does over many texts."""

from __future__ import annotations

import numpy as np

from bothways.analysis.attention import Attention, Heads
from bothways.reports.downloads import file_name
from bothways.reports.html import Markup, join, row, table, tag
from bothways.reports.page import document

SIDE, LEVELS = 8, 8
STYLE = """
.heads { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px; }
.heads figure { padding: 10px 12px; } .heads h3 { font-size: 14px; font-weight: 500; }
svg.head path { fill: var(--colour-0); stroke: none; } svg.head rect { fill: var(--faint); }
svg.head { cursor: crosshair; margin-top: 6px; }
p.pieces { font: 14px/1.8 ui-monospace, monospace; } p.pieces span { padding: 1px 3px; border-radius: 4px; }
"""
SCRIPT = """
"use strict";
for (const svg of document.querySelectorAll("svg.head")) {
  const pieces = JSON.parse(document.getElementById("pieces").textContent), count = pieces.length;
  const weights = atob(svg.dataset.weights), figure = svg.closest("figure");
  let tip;
  const leave = () => { tip?.remove(); tip = null; };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const from = Math.floor(count * (event.clientY - box.top) / box.height);
    const to = Math.floor(count * (event.clientX - box.left) / box.width);
    if (!(from >= 0 && from < count && to >= 0 && to < count)) return leave();
    tip ??= Object.assign(figure.appendChild(document.createElement("div")), {className: "tip"});
    const share = weights.charCodeAt(from * count + to) / 255;
    tip.textContent = pieces[from] + " \\u2192 " + pieces[to] + ": " + share.toFixed(2);
    const outer = figure.getBoundingClientRect();
    tip.style.top = event.clientY - outer.top + 16 + "px";
    tip.style.left = Math.max(0, Math.min(event.clientX - outer.left + 12, outer.width - tip.offsetWidth)) + "px";
  });
  svg.addEventListener("pointerleave", leave);
  const line = figure.querySelector("p.saves"), button = line.appendChild(document.createElement("button"));
  button.textContent = "CSV";
  button.addEventListener("click", () => {
    const cell = text => '"' + text.replaceAll('"', '""') + '"';
    const rows = pieces.map((from, i) => [cell(from), ...pieces.map((_, j) =>
      (weights.charCodeAt(i * count + j) / 255).toFixed(4))].join(","));
    save(line.dataset.name + ".csv", "text/csv", ["," + pieces.map(cell).join(","), ...rows].join("\\n"));
  });
}
"""


def render(name: str, seen: Attention, many: Heads | None = None) -> str:
    """The whole page as HTML."""
    import json

    layers, heads = seen.weights.shape[:2]
    words = join(*(join(tag("span", piece.strip() or "␣"), " ") for piece in seen.pieces))
    header = tag(
        "header",
        tag("style", Markup(STYLE)),
        tag("p", "Attention", class_="kind"),
        tag("h1", name),
        tag("p", "A square a head: lines look, columns are looked at, from the upper left.", class_="lead"),
        tag("p", words, class_="pieces"),
        *([tag("p", f"{seen.note}.", class_="note")] if seen.note else []),
        tag("script", Markup(json.dumps(seen.pieces).replace("<", "\\u003c")), type="application/json", id="pieces"),
    )
    sections = [
        tag(
            "section",
            tag("h2", f"Layer {layer + 1}"),
            tag("div", *(_head(seen, many, layer, head) for head in range(heads)), class_="heads"),
        )
        for layer in range(layers)
    ]
    table = [] if many is None else [_table(many)]
    return document(
        f"Attention of {name}", header, *sections, *table, tag("script", Markup(SCRIPT)), foot="Written by Bothways."
    )


def _head(seen: Attention, many: Heads | None, layer: int, head: int) -> Markup:
    from base64 import b64encode

    weights = seen.weights[layer, head]
    count = len(weights)
    bits = b64encode(np.rint(255 * weights).astype(np.uint8).tobytes()).decode()
    label = f"Head {head + 1}" + ("" if many is None else f": {_habit(many, layer, head)}")
    side = count * SIDE
    return tag(
        "figure",
        tag("h3", label),
        tag(
            "svg",
            tag("rect", width=side, height=side),
            *_levels(weights),
            viewBox=f"0 0 {side} {side}",
            class_="head",
            data_weights=bits,
            role="img",
            aria_label=f"layer {layer + 1}, head {head + 1}",
        ),
        tag("p", class_="saves", data_name=file_name(f"layer {layer + 1} head {head + 1}")),
        class_="card",
    )


def _levels(weights: np.ndarray) -> list[Markup]:
    """One path for every level of darkness: a page of 144 heads stays small."""
    level = np.rint(LEVELS * np.sqrt(weights)).astype(int)
    found = []
    for value in range(1, LEVELS + 1):
        cells = "".join(f"M{x * SIDE} {y * SIDE}h{SIDE}v{SIDE}h-{SIDE}z" for y, x in np.argwhere(level == value))
        if cells:
            found.append(tag("path", d=cells, opacity=round(value / LEVELS, 3)))
    return found


def _habit(many: Heads, layer: int, head: int) -> str:
    """What takes more than half of a head's attention; else how far it looks."""
    shares = {
        "itself": many.itself,
        "one before": many.before,
        "one after": many.after,
        "special pieces": many.separator,
    }
    name, share = max(((name, float(some[layer, head])) for name, some in shares.items()), key=lambda one: one[1])
    return f"{name} {share:.0%}" if share > 0.5 else f"{many.distance[layer, head]:.1f} places away"


def _table(many: Heads) -> Markup:
    names = ("distance", "entropy", "itself", "before", "after", "separator")
    columns = [getattr(many, name) for name in names]
    rows = (
        row(f"layer {layer + 1}, head {head + 1}", *(f"{column[layer, head]:.2f}" for column in columns))
        for layer in range(columns[0].shape[0])
        for head in range(columns[0].shape[1])
    )
    return tag(
        "section",
        tag("h2", "Every head over many texts"),
        tag("p", "Places away, bits, and shares of the attention.", class_="about"),
        table(("", *names), rows),
    )
