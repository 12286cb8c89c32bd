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
    key.textContent = (mark.textContent || "—") + " ";
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
