"""Attention on one page: a square a head, weights under the pointer, what each head does over many texts."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence

import numpy as np

from bothways.evaluation.inspection.attention import AttentionMaps, Heads
from bothways.reports.curves import ticks
from bothways.reports.downloads import file_name
from bothways.reports.html import Markup, join, row, table, tag, token_name, visible
from bothways.reports.page import document

SIDE, LEFT, TOP, LEVELS = 160, 34, 28, 8
"""Of a square and what stands before it and above it, in the units of its view box; how many shades there are."""
STYLE = """
.heads { display: grid; grid-template-columns: repeat(auto-fill, minmax(204px, 1fr)); gap: 12px; }
.heads figure { padding: 10px 12px; } .heads h3 { font-size: 14px; font-weight: 500; }
svg.head path, svg.shades rect { fill: var(--colour-0); stroke: none; } svg.head rect { fill: var(--faint); }
svg.head { cursor: crosshair; margin-top: 6px; } svg.head text, svg.shades text { font-size: 10px; }
h3.layer { margin: 28px 0 10px; font-size: 17px; }
svg.shades { display: block; width: 340px; max-width: 100%; margin: 10px 0; }
p.tokens { font: 14px/1.9 ui-monospace, monospace; } p.tokens span { padding: 1px 3px; white-space: nowrap; }
p.tokens sub { color: var(--soft); font-size: 10px; margin-left: 1px; }
"""
SCRIPT = """
"use strict";
for (const svg of document.querySelectorAll("svg.head")) {
  const tokens = JSON.parse(document.getElementById(svg.dataset.tokens).textContent), count = tokens.length;
  const weights = atob(svg.dataset.weights), figure = svg.closest("figure"), square = svg.querySelector("rect");
  let tip;
  const leave = () => { tip?.remove(); tip = null; };
  svg.addEventListener("pointermove", event => {
    const box = square.getBoundingClientRect();
    const from = Math.floor(count * (event.clientY - box.top) / box.height);
    const to = Math.floor(count * (event.clientX - box.left) / box.width);
    if (!(from >= 0 && from < count && to >= 0 && to < count)) return leave();
    tip ??= Object.assign(figure.appendChild(document.createElement("div")), {className: "tip"});
    const share = weights.charCodeAt(from * count + to) / 255;
    tip.textContent = tokens[from] + " \\u2192 " + tokens[to] + ": " + share.toFixed(2);
    const outer = figure.getBoundingClientRect();
    tip.style.top = event.clientY - outer.top + 16 + "px";
    tip.style.left = Math.max(0, Math.min(event.clientX - outer.left + 12, outer.width - tip.offsetWidth)) + "px";
  });
  svg.addEventListener("pointerleave", leave);
  const line = figure.querySelector("p.saves"), button = line.appendChild(document.createElement("button"));
  button.textContent = "CSV";
  button.addEventListener("click", () => {
    const cell = text => '"' + text.replaceAll('"', '""') + '"';
    const rows = tokens.map((from, i) => [cell(from), ...tokens.map((_, j) =>
      (weights.charCodeAt(i * count + j) / 255).toFixed(4))].join(","));
    save(line.dataset.name + ".csv", "text/csv", ["looks," + tokens.map(cell).join(","), ...rows].join("\\n"));
  });
}
"""


def render(name: str, seen: Sequence[AttentionMaps], many: Sequence[Heads] = ()) -> str:
    """The whole page as HTML: a text in each way that it is read, and what heads do over many texts, read alike."""
    header = tag(
        "header",
        tag("style", Markup(STYLE)),
        tag("p", "Attention", class_="kind"),
        tag("h1", name),
        tag(
            "p",
            "A square a head: a line for each token that looks, a column for each that is looked at.",
            class_="lead",
        ),
        tag(
            "p",
            "Over a square: what takes more than half of the head's attention in this very text, else how far it "
            "looks. The stronger the colour, the larger the weight; the weights of a line sum to 1:",
            class_="about",
        ),
        _shades(),
    )
    sections = [
        section
        for place, one in enumerate(seen)
        for section in (
            _text(one, place),
            *_layers(one, place),
            *(_table(heads, one) for heads in many[place : place + 1]),
        )
    ]
    return document(
        f"Attention of {name}", header, *sections, tag("script", Markup(SCRIPT)), foot="Written by Bothways."
    )


def _shades() -> Markup:
    """Every shade with its weight."""
    parts = []
    for level in range(1, LEVELS + 1):
        x = 42 * (level - 1)
        parts.append(tag("rect", x=x, y=0, width=40, height=12, opacity=level / LEVELS))
        parts.append(tag("text", f"{(level / LEVELS) ** 2:.2f}", x=x + 20, y=24, class_="middle"))
    return tag(
        "svg", *parts, viewBox=f"0 0 {42 * LEVELS} 28", class_="shades", role="img", aria_label="shades of weights"
    )


def _text(seen: AttentionMaps, place: int) -> Markup:
    """The tokens with their numbers, which stand along the squares."""
    names = [visible(token_name(token)) for token in seen.tokens]
    words = join(*(join(tag("span", token, tag("sub", f"{i}")), " ") for i, token in enumerate(names, 1)))
    return tag(
        "section",
        tag("h2", f"Read {_way(seen)}"),
        tag("p", words, class_="tokens"),
        *([tag("p", f"{seen.note}.", class_="note")] if seen.note else []),
        tag("script", Markup(json.dumps(names).replace("<", "\\u003c")), type="application/json", id=f"tokens-{place}"),
    )


def _way(seen: AttentionMaps) -> str:
    return "from all sides" if seen.reads == "all sides" else seen.reads


def _layers(seen: AttentionMaps, place: int) -> Iterator[Markup]:
    layers, count = seen.weights.shape[:2]
    heads = seen.heads
    for layer in range(layers):
        squares = (_head(seen, heads, place, layer, head) for head in range(count))
        yield tag(
            "section",
            tag("h3", f"Layer {layer + 1}, {_way(seen)}", class_="layer"),
            tag("div", *squares, class_="heads"),
        )


def _head(seen: AttentionMaps, heads: Heads, place: int, layer: int, head: int) -> Markup:
    weights = seen.weights[layer, head]
    bits = b64encode(np.rint(255 * weights).astype(np.uint8).tobytes()).decode()
    said = f"layer {layer + 1}, head {head + 1}, read {_way(seen)}"
    return tag(
        "figure",
        tag("h3", f"Head {head + 1}: {_habit(heads, layer, head)}"),
        tag(
            "svg",
            tag("rect", x=LEFT, y=TOP, width=SIDE, height=SIDE),
            *_levels(weights),
            *_axes(len(weights)),
            viewBox=f"0 0 {LEFT + SIDE} {TOP + SIDE}",
            class_="head",
            data_weights=bits,
            data_tokens=f"tokens-{place}",
            role="img",
            aria_label=said,
        ),
        tag("p", class_="saves", data_name=file_name(said)),
        class_="card",
    )


def _axes(count: int) -> Iterator[Markup]:
    """What runs along a square, and some numbers of tokens."""
    yield tag("text", "is looked at", x=LEFT + SIDE / 2, y=10, class_="middle")
    x, y = 10, TOP + SIDE / 2
    yield tag("text", "looks", x=x, y=y, class_="middle", transform=f"rotate(-90 {x} {y})")
    for number in ticks(1, max(2, count), 5):
        if number != round(number) or number > count:
            continue
        at = SIDE * (number - 0.5) / count
        yield tag("text", f"{number:g}", x=LEFT + at, y=TOP - 5, class_="middle")
        yield tag("text", f"{number:g}", x=LEFT - 4, y=TOP + at + 3.5, class_="end")


def _levels(weights: np.ndarray) -> list[Markup]:
    """One path for every level of darkness: a page of 144 heads stays small."""
    level, side = np.rint(LEVELS * np.sqrt(weights)).astype(int), SIDE / len(weights)
    found = []
    for value in range(1, LEVELS + 1):
        cells = "".join(
            f"M{LEFT + x * side:.2f} {TOP + y * side:.2f}h{side:.2f}v{side:.2f}h-{side:.2f}z"
            for y, x in np.argwhere(level == value)
        )
        if cells:
            found.append(tag("path", d=cells, opacity=value / LEVELS))
    return found


def _habit(heads: Heads, layer: int, head: int) -> str:
    """What takes more than half of a head's attention; else how far it looks."""
    shares = {
        "itself": heads.itself,
        "one before": heads.before,
        "one after": heads.after,
        "special tokens": heads.separator,
    }
    name, share = max(((name, float(some[layer, head])) for name, some in shares.items()), key=lambda one: one[1])
    return f"{name} {share:.0%}" if share > 0.5 else f"{heads.distance[layer, head]:.1f} places away"


COLUMNS = {
    "distance": "places away",
    "entropy": "entropy, bits",
    "itself": "to itself",
    "before": "to the one before",
    "after": "to the one after",
    "separator": "to special tokens",
}


def _table(heads: Heads, seen: AttentionMaps) -> Markup:
    columns = [getattr(heads, name) for name in COLUMNS]
    rows = (
        row(f"layer {layer + 1}, head {head + 1}", *(f"{column[layer, head]:.2f}" for column in columns))
        for layer in range(columns[0].shape[0])
        for head in range(columns[0].shape[1])
    )
    return tag(
        "section",
        tag("h2", f"Every head over many texts, read {_way(seen)}"),
        tag(
            "p",
            "Means over all their places: how far it looks, how evenly, and shares of its attention.",
            class_="about",
        ),
        table(("", *COLUMNS.values()), rows),
    )
