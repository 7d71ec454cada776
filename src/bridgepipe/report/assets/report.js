"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const SHOWN = 8; // rows under one heading before the others are asked for

// Sorting: rows change places under their own heading only, since others are of another protocol.
const value = (row, column) => {
  const cell = row.children[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
};
const order = (a, b) => {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return typeof a === "number" ? -1 : 1; // what is missing comes last
};
const sort = (header) => {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const way = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of header.parentNode.children) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", way);
  const sign = way === "ascending" ? 1 : -1;
  for (const body of table.tBodies) {
    const rows = all("tr:not(.head, .more-rows)", body);
    rows.sort((a, b) => sign * order(value(a, column), value(b, column)));
    const last = body.querySelector(".more-rows");
    for (const row of rows) body.insertBefore(row, last);
  }
  show();
};
for (const button of all(".sortable thead button")) button.addEventListener("click", () => sort(button.closest("th")));

// Filtering the table of all numbers, whose long groups are short until somebody asks for all of them.
const table = document.querySelector("section.table table");
const filter = document.querySelector(".filter");
const measure = document.querySelector(".measure");
const show = () => {
  if (!table) return;
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  let there = 0;
  for (const body of table.tBodies) {
    const rows = all("tr[data-experiment]", body);
    const fitting = rows.filter((row) =>
      (!measure.value || body.dataset.measure === measure.value) &&
      words.every((word) => row.dataset.experiment.toLowerCase().includes(word)));
    const short = !words.length && !body.classList.contains("whole");
    const visible = new Set(short ? fitting.slice(0, SHOWN) : fitting);
    for (const row of rows) row.hidden = !visible.has(row);
    const more = body.querySelector(".more-rows");
    if (more) more.hidden = visible.size === fitting.length;
    body.hidden = !fitting.length;
    found += fitting.length;
    there += rows.length;
  }
  document.querySelector(".count").textContent = found === there ? `${there} rows` : `${found} of ${there} rows`;
};
if (table) {
  for (const body of table.tBodies) {
    const rows = all("tr[data-experiment]", body).length;
    if (rows <= SHOWN) continue;
    const row = body.insertRow();
    row.className = "more-rows";
    const cell = row.insertCell();
    cell.colSpan = table.tHead.rows[0].cells.length;
    cell.style.textAlign = "left";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Show ${rows - SHOWN} more`;
    button.addEventListener("click", () => { body.classList.add("whole"); show(); });
    cell.append(button);
  }
  filter.addEventListener("input", show);
  measure.addEventListener("input", show);
  show();
}

// Finding an experiment in the list of all.
const find = document.querySelector(".find");
find?.addEventListener("input", () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of all("nav details > ul > li")) {
    const method = group.querySelector(".method").textContent;
    const links = all("ul a", group);
    for (const link of links) {
      const name = `${method}/${link.textContent}`.toLowerCase();
      link.parentNode.hidden = !words.every((word) => name.includes(word));
    }
    group.hidden = links.length ? links.every((link) => link.parentNode.hidden) : words.length > 0;
  }
});
if (matchMedia("(max-width: 68rem)").matches) document.querySelector("nav details")?.removeAttribute("open");

// Comparing before and after: the slider moves all images of its group, and so does a pointer on one of them.
for (const group of all(".compare")) {
  const slider = group.querySelector("input");
  const set = (at) => { slider.value = at; group.style.setProperty("--at", `${slider.value}%`); };
  slider.addEventListener("input", () => set(slider.value));
  for (const tile of all(".tile", group)) {
    const follow = (event) => {
      const box = tile.getBoundingClientRect();
      set((100 * (event.clientX - box.left)) / box.width);
    };
    tile.addEventListener("pointerdown", (event) => { tile.setPointerCapture(event.pointerId); follow(event); });
    tile.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  }
}
