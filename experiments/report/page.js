"use strict";
// What the page can do besides being read: hide lines, bring one forward, and tell their values at a step.
const { names = {}, charts = {} } = JSON.parse(document.getElementById("numbers").textContent);
const MOST = 10; // values told at once: the nearest to the pointer
const hidden = new Set();
const buttons = [...document.querySelectorAll(".legend [data-key]")];
const groups = [...document.querySelectorAll(".chart [data-key]")];

function refresh() {
  for (const button of buttons) button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.key)));
  for (const group of groups) group.classList.toggle("hidden", hidden.has(group.dataset.key));
}
function forward(key) {
  for (const group of groups) group.classList.toggle("faint", key !== null && group.dataset.key !== key);
}
for (const button of buttons) {
  const key = button.dataset.key;
  button.addEventListener("click", () => {
    if (!hidden.delete(key)) hidden.add(key);
    refresh();
  });
  button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && !hidden.has(key) && forward(key));
  button.addEventListener("pointerleave", () => forward(null));
}
document.querySelector(".legend .all")?.addEventListener("click", () => (hidden.clear(), refresh()));
document.querySelector(".legend .none")?.addEventListener("click", () => {
  for (const button of buttons) hidden.add(button.dataset.key);
  refresh();
});

function nearest(sorted, wanted) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle; else high = middle;
  }
  return wanted - sorted[low] < sorted[high] - wanted ? low : high;
}

const grid = document.querySelector(".charts");
const box = document.createElement("div");
box.id = "values";
grid?.append(box);

for (const figure of document.querySelectorAll("[data-chart]")) {
  const chart = charts[figure.dataset.chart], svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor");
  const colours = Object.fromEntries([...svg.querySelectorAll("[data-key]")].map(
    (group) => [group.dataset.key, group.querySelector(".line").getAttribute("stroke")]));
  const leave = () => { box.replaceChildren(); cursor.style.visibility = "hidden"; };
  const tell = (event) => {
    const frame = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / frame.width;
    const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    const wanted = chart.low + (x - chart.start) / (chart.end - chart.start) * (chart.high - chart.low);
    const found = Object.entries(chart.lines).filter(([key]) => !hidden.has(key)).map(([key, line]) => {
      const i = nearest(line.steps, wanted);
      return { key, step: line.steps[i], value: line.values[i], far: Math.abs(line.y[i] - y) };
    });
    if (!found.length) return leave();
    const step = found.reduce((a, b) => (Math.abs(a.step - wanted) <= Math.abs(b.step - wanted) ? a : b)).step;
    const at = chart.start + (step - chart.low) / (chart.high - chart.low) * (chart.end - chart.start);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.style.visibility = "visible";
    const told = found.sort((a, b) => a.far - b.far).slice(0, MOST);
    box.replaceChildren(`step ${step}`, ...told.map(({ key, step: own, value }) => {
      const row = document.createElement("div"), dot = document.createElement("i");
      dot.style.background = colours[key];
      row.append(dot, `${value}  ${names[key]}` + (own === step ? "" : ` (step ${own})`));
      return row;
    }));
    const around = grid.getBoundingClientRect(), place = frame.left - around.left + at / scale;
    const left = place + 14 + box.offsetWidth > around.width ? place - 14 - box.offsetWidth : place + 14;
    box.style.left = `${Math.max(0, left)}px`;
    box.style.top = `${frame.top - around.top + 8}px`;
  };
  svg.addEventListener("pointermove", tell);
  svg.addEventListener("pointerdown", tell);
  svg.addEventListener("pointerleave", leave);
}

// A table wider than the screen says that it scrolls.
const tables = [...document.querySelectorAll(".wide")];
function hint() {
  for (const table of tables) table.classList.toggle("scrolls", table.scrollWidth > table.clientWidth + 1);
}
addEventListener("resize", hint);
document.addEventListener("toggle", hint, true);
hint();

// On paper nothing stays folded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
