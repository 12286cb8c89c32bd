"""How pages look, in light and dark, on a desk and on a phone; and the script that reads values off the curves.

Without the script nothing is lost but the values under the pointer: the switch between axes is plain CSS.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #ffffff; --ink: #1b1d21; --soft: #5d636d; --line: #e2e2de; --faint: #efefec;
  --accent: #2a62c9; --good: #1a7f4b; --good-back: #e3f4ea; --warn: #8a5a00; --warn-back: #fbf0d9; --mark: #fff0b8;
  --colour-0: #2a62c9; --colour-1: #d1600a; --colour-2: #0d8a72; --colour-3: #a13fb5; --colour-4: #7b6a00;
  --colour-5: #c22f5b; --colour-6: #4b5563; --colour-7: #7a4a24;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131518; --card: #1b1e22; --ink: #e9eaec; --soft: #a0a6b0; --line: #2f343a; --faint: #24282d;
    --accent: #7fabff; --good: #6fd49c; --good-back: #17352a; --warn: #f0c063; --warn-back: #3a2e15; --mark: #574a17;
    --colour-0: #7fabff; --colour-1: #ff9d5c; --colour-2: #4fd1b5; --colour-3: #dd92ee; --colour-4: #d8c34a;
    --colour-5: #ff86a8; --colour-6: #b6bec9; --colour-7: #d3a27a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", sans-serif;
}
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 44px; }
footer { padding-top: 8px; padding-bottom: 48px; color: var(--soft); font-size: 14px; }
h1 { font-size: 32px; line-height: 1.2; margin: 2px 0 0; letter-spacing: -.015em; }
h2 { font-size: 21px; line-height: 1.3; margin: 52px 0 4px; letter-spacing: -.01em; }
h3 { font-size: 16px; line-height: 1.4; margin: 0; }
p { margin: 0 0 12px; }
.kind { color: var(--soft); font-size: 14px; margin: 0; }
.lead { font-size: 18px; max-width: 46em; margin: 16px 0 0; }
.about { color: var(--soft); max-width: 46em; margin: 0 0 18px; }
.status {
  display: inline-block; vertical-align: middle; margin-left: 12px; padding: 3px 11px; border-radius: 99px;
  font-size: 13px; font-weight: 600; letter-spacing: 0; background: var(--warn-back); color: var(--warn);
}
.status.done { background: var(--good-back); color: var(--good); }
.note { background: var(--warn-back); color: var(--warn); border-radius: 8px; padding: 10px 14px; margin: 16px 0 0; }

.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr)); gap: 12px; margin: 26px 0 0;
  padding: 0;
}
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; min-width: 0; }
.tile { padding: 14px 16px; }
.tile dt { color: var(--soft); font-size: 13px; }
.tile dd { margin: 0; }
.tile .figure {
  font-size: 25px; line-height: 1.3; font-weight: 600; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums;
}
.tile .unit { color: var(--soft); font-size: 13px; line-height: 1.4; }
.card { padding: 18px 20px; margin: 0; }
.cards { display: grid; gap: 16px; }
.cards + .about, .wide + .about { margin-top: 22px; }
.tiles + .cards { margin-top: 16px; }
.columns { column-gap: 16px; margin-top: 16px; }
.columns > .card { break-inside: avoid; margin-bottom: 16px; }
section > details.card, main > details.card { margin-top: 16px; }

.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.wide th, .wide td { padding: 11px 18px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
.wide th:first-child { text-align: left; font-weight: 500; }
.wide thead th {
  border-top: 0; color: var(--soft); font-size: 13px; font-weight: 500; line-height: 1.35;
  vertical-align: bottom; overflow-wrap: normal;
}
.wide thead td { border-top: 0; }
.wide thead small { display: block; font-size: 12px; }
.wide .ours th, .wide .ours td { font-weight: 650; background: color-mix(in srgb, var(--accent) 8%, var(--card)); }
.wide td small { display: block; font-weight: 400; font-size: 12px; line-height: 1.3; color: var(--soft); }
.wide td small.beaten { color: var(--good); }

.curves > input { position: absolute; opacity: 0; pointer-events: none; }
.curves > label {
  display: inline-block; padding: 5px 14px; border: 1px solid var(--line); margin: 0 -1px 16px 0; cursor: pointer;
  background: var(--card); color: var(--soft); font-size: 14px;
}
.curves > label:first-of-type { border-radius: 8px 0 0 8px; }
.curves > label:last-of-type { border-radius: 0 8px 8px 0; }
.curves > input:checked + label {
  background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600;
}
.curves > input:focus-visible + label { outline: 3px solid color-mix(in srgb, var(--accent) 45%, transparent); }
.curves svg { display: none; }
#by-tokens:checked ~ .charts .on-tokens, #by-seconds:checked ~ .charts .on-seconds,
#by-step:checked ~ .charts .on-step, #by-flops:checked ~ .charts .on-flops { display: block; }
.colour-0 { --own: var(--colour-0); }
.colour-1 { --own: var(--colour-1); }
.colour-2 { --own: var(--colour-2); }
.colour-3 { --own: var(--colour-3); }
.colour-4 { --own: var(--colour-4); }
.colour-5 { --own: var(--colour-5); }
.colour-6 { --own: var(--colour-6); }
.colour-7 { --own: var(--colour-7); }
.curves h3.group { margin: 30px 0 12px; font-size: 18px; }
figure { position: relative; }
figcaption { color: var(--soft); font-size: 14px; line-height: 1.45; margin-top: 8px; }
.saves { display: flex; align-items: start; gap: 14px; margin: 8px 0 0; font-size: 13px; }
.saves a, .saves button {
  color: var(--soft); background: none; border: 0; padding: 0; font: inherit; cursor: pointer;
  text-decoration: underline;
}
.legend {
  display: flex; flex-wrap: wrap; gap: 2px 18px; list-style: none; margin: 3px 0 8px; padding: 0;
  font-size: 14px; color: var(--soft);
}
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.legend i {
  display: inline-block; width: 16px; height: 0; border-top: 3px solid var(--own); border-radius: 2px;
  margin-right: 6px; vertical-align: middle;
}
.legend i.dot { width: auto; height: auto; border: 0; color: var(--own); font-style: normal; vertical-align: baseline; }
.legend i.training { border-top-width: 2px; opacity: .5; }
svg { width: 100%; height: auto; overflow: visible; font: inherit; touch-action: pan-y; }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--faint); }
svg .mark { stroke: var(--line); }
svg .level { stroke: var(--soft); stroke-width: 1.3; stroke-dasharray: 5 4; opacity: .75; }
svg path { fill: none; stroke: var(--own); stroke-linejoin: round; stroke-linecap: round; }
svg path.held-out { stroke-width: 2.4; }
svg path.training { stroke-width: 1.6; opacity: .5; }
svg path.noise { stroke-width: 1; opacity: .16; }
svg.dots { max-width: 860px; display: block; }
svg.dots path { stroke-width: 1.6; }
svg.dots path.whole { fill: var(--own); stroke: var(--card); stroke-width: 1; }
svg.bars rect { fill: var(--colour-0); }
svg circle { fill: var(--own); stroke: var(--card); stroke-width: 1; }
svg .cursor { stroke: var(--soft); stroke-width: 1; }
.tip {
  position: absolute; pointer-events: none; z-index: 2; padding: 6px 10px; border-radius: 8px; font-size: 13px;
  line-height: 1.5;
  background: var(--ink); color: var(--page); white-space: nowrap; font-variant-numeric: tabular-nums;
}

.swatch {
  display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px;
  background: var(--own);
}
.wide .baseline th, .wide .baseline td { color: var(--soft); }
.fill { font-size: 17px; margin: 0 0 12px; }
mark { background: var(--mark); color: inherit; border-radius: 5px; padding: 1px 6px; font-weight: 600; }
.answers { list-style: none; margin: 0; padding: 0; display: grid; gap: 4px; font-size: 15px; }
.answers li { display: grid; grid-template-columns: minmax(84px, 26%) 1fr 4.2em; gap: 10px; align-items: center; }
.answers .bar { height: 8px; border-radius: 4px; background: var(--faint); overflow: hidden; }
.answers .bar span { display: block; height: 100%; background: var(--accent); border-radius: 4px; }
.answers .share { text-align: right; color: var(--soft); font-variant-numeric: tabular-nums; }
blockquote { margin: 0; white-space: pre-wrap; }
blockquote b { font-weight: 650; }
blockquote span { color: var(--soft); }

.facts th {
  text-align: left; font-weight: 400; color: var(--soft); padding: 4px 16px 4px 0; vertical-align: top;
  width: 42%;
}
.facts td { padding: 4px 0; vertical-align: top; }
.facts { font-size: 14px; margin-top: 8px; }
pre {
  overflow-x: auto; margin: 12px 0 0; font: 13px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  overflow-wrap: normal;
}
summary { cursor: pointer; font-weight: 600; }
dl.words { margin: 12px 0 0; font-size: 15px; }
dl.words dt { font-weight: 600; }
dl.words dd { margin: 0 0 10px; color: var(--soft); }

@media (min-width: 900px) {
  .cards { grid-template-columns: 1fr 1fr; }
  .columns { columns: 2; }
  /* a chart left over: its words beside it, not an empty place */
  .cards > figure:last-child:nth-child(odd) {
    grid-column: 1 / -1; display: grid; column-gap: 56px;
    grid-template-columns: 1fr 1fr; grid-template-rows: auto auto auto 1fr;
  }
  .cards > figure:last-child:nth-child(odd) > svg { grid-column: 2; grid-row: 1 / 5; }
}
@media (max-width: 620px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  header { padding-top: 26px; }
  h1 { font-size: 26px; }
  .lead { font-size: 17px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tile { padding: 11px 13px; }
  .tile:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .tile .figure { font-size: 22px; }
  .card { padding: 14px; }
  .wide th, .wide td { padding: 9px 12px; }
  .wide thead th { white-space: normal; min-width: 72px; }
  .wide th:first-child { position: sticky; left: 0; background: var(--card); padding-right: 6px; }
  .wide .ours th:first-child { background: color-mix(in srgb, var(--accent) 8%, var(--card)); }
  .curves > label { padding: 6px 11px; }
  svg text { font-size: 14.5px; }
}
@media print {
  body { background: none; }
  .card, .tile, figure { break-inside: avoid; }
  h2, h3, .about { break-after: avoid; }
  .saves { display: none; }
  .wide { overflow: visible; }
  .wide th, .wide td { white-space: normal; padding: 6px 8px; }
  details::details-content { content-visibility: visible; height: auto; }
}
"""

SCRIPT = """
"use strict";
const compact = value => {
  for (const [size, letter] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return +(value / size).toPrecision(3) + letter;
  return String(+value.toPrecision(3));
};
for (const svg of document.querySelectorAll("svg[data-frame]")) {
  const [left, top, width, height] = svg.dataset.frame.split(" ").map(Number);
  const [right, low, high] = svg.dataset.range.split(" ").map(Number);
  const figure = svg.closest("figure");
  const curves = [...svg.querySelectorAll("path[data-name]")].reverse().map(path => ({
    name: path.dataset.name,
    points: path.getAttribute("d").slice(1).split("L").map(pair => pair.split(" ").map(Number)),
  }));
  const say = y => {
    const value = low + (high - low) * (1 - (y - top) / height);
    if ("percent" in svg.dataset) return (100 * value).toFixed(1) + "%";
    return value >= 100 || value < 0.1 ? compact(value) : value.toFixed(3);
  };
  let cursor, tip;
  const leave = () => { cursor?.remove(); tip?.remove(); cursor = tip = null; };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const wanted = (event.clientX - box.left) / scale;
    if (wanted < left - 6 || wanted > left + width + 6) return leave();
    const nearest = curves.map(curve => ({
      name: curve.name,
      point: curve.points.reduce((a, b) => Math.abs(b[0] - wanted) < Math.abs(a[0] - wanted) ? b : a),
    }));
    const x = nearest.reduce((a, b) => Math.abs(b.point[0] - wanted) < Math.abs(a.point[0] - wanted) ? b : a).point[0];
    if (!cursor) {
      cursor = svg.appendChild(document.createElementNS(svg.namespaceURI, "line"));
      cursor.setAttribute("class", "cursor");
      tip = figure.appendChild(document.createElement("div"));
      tip.className = "tip";
    }
    const ends = {x1: x, x2: x, y1: top, y2: top + height};
    for (const [key, value] of Object.entries(ends)) cursor.setAttribute(key, value);
    const lines = [compact(right * (x - left) / width) + " " + svg.dataset.words];
    for (const {name, point} of nearest) lines.push(name + ": " + say(point[1]));
    tip.replaceChildren(...lines.flatMap((line, i) => i ? [document.createElement("br"), line] : [line]));
    const outer = figure.getBoundingClientRect(), place = box.left - outer.left + x * scale;
    tip.style.top = box.top - outer.top + top * scale + "px";
    const onLeft = place + 14 + tip.offsetWidth > outer.width - 8;
    tip.style.left = (onLeft ? Math.max(4, place - 14 - tip.offsetWidth) : place + 14) + "px";
  });
  svg.addEventListener("pointerleave", leave);
}
const save = (name, type, text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const legend = (copy, figure, below) => {
  // A line for every name, in its colour.
  const named = [...figure.querySelectorAll(".legend li")].filter(item => item.querySelector("i"));
  const style = getComputedStyle(figure);
  named.forEach((item, i) => {
    const mark = item.querySelector("i"), words = item.textContent.slice(mark.textContent.length);
    const line = copy.appendChild(document.createElementNS(copy.namespaceURI, "text"));
    line.setAttribute("style", `font: 12px ${style.fontFamily}; fill: ${style.color}`);
    line.setAttribute("x", 8);
    line.setAttribute("y", below + 16 * (i + 1));
    const key = line.appendChild(document.createElementNS(copy.namespaceURI, "tspan"));
    const {opacity} = getComputedStyle(mark), colour = getComputedStyle(mark).getPropertyValue("--own");
    key.setAttribute("style", `font-weight: bold; fill: ${colour}; fill-opacity: ${opacity}`);
    key.textContent = (mark.textContent || "\u2014") + " ";
    line.append(words);
  });
  return named.length ? 16 * named.length + 12 : 0;
};
const alone = (svg, figure) => {
  // What the page's style says goes into the picture, which is then whole without it.
  const kept = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity",
    "font-family", "font-size", "font-weight", "text-anchor"];
  const copy = svg.cloneNode(true), [left, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const parts = [svg, ...svg.querySelectorAll("*")].map(part => getComputedStyle(part));
  [copy, ...copy.querySelectorAll("*")].forEach((part, i) => {
    for (const name of kept) part.style.setProperty(name, parts[i].getPropertyValue(name));
    part.removeAttribute("class");
  });
  const paper = copy.insertBefore(document.createElementNS(svg.namespaceURI, "rect"), copy.firstChild);
  const whole = height + legend(copy, figure, height);
  for (const part of [copy, paper]) {
    part.setAttribute("width", width);
    part.setAttribute("height", whole);
  }
  copy.setAttribute("viewBox", [left, top, width, whole].join(" "));
  paper.style.fill = getComputedStyle(figure).backgroundColor;
  return new XMLSerializer().serializeToString(copy);
};
for (const line of document.querySelectorAll("p.saves")) {
  const figure = line.closest("figure"), button = document.createElement("button");
  button.textContent = "SVG";
  button.addEventListener("click", () => {
    const svg = [...figure.querySelectorAll("svg")].find(each => each.getClientRects().length);
    save(line.dataset.name + ".svg", "image/svg+xml", alone(svg, figure));
  });
  line.prepend(button);
}
"""
