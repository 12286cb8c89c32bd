for (const svg of document.querySelectorAll("svg.head")) {
  const tokens = JSON.parse(document.getElementById(svg.dataset.tokens).textContent), count = tokens.length;
  const weights = atob(svg.dataset.weights), figure = svg.closest("figure"), square = svg.querySelector("rect");
  const weight = (i, j) => {
    const place = 2 * (i * count + j);
    return (256 * weights.charCodeAt(place) + weights.charCodeAt(place + 1)) / 65535;
  };
  let tip;
  const leave = () => { tip?.remove(); tip = null; };
  svg.addEventListener("pointermove", event => {
    const box = square.getBoundingClientRect();
    const from = Math.floor(count * (event.clientY - box.top) / box.height);
    const to = Math.floor(count * (event.clientX - box.left) / box.width);
    if (!(from >= 0 && from < count && to >= 0 && to < count)) return leave();
    tip ??= Object.assign(figure.appendChild(document.createElement("div")), {className: "tip"});
    tip.textContent = tokens[from] + " \u2192 " + tokens[to] + ": " + weight(from, to).toFixed(2);
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
      weight(i, j).toFixed(5))].join(","));
    save(line.dataset.name + ".csv", "text/csv", ["attends," + tokens.map(cell).join(","), ...rows].join("\n"));
  });
}
