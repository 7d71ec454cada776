"use strict";

const find = (selector) => document.querySelector(selector);
const form = find("#form"), state = find("#state"), error = find("#error"), progress = find("#progress");
const start = find("#start"), stop = find("#stop"), work = find("#work"), both = find(".both"), slider = find("#slider");
const given = {}; // the pictures that the server has, by the field that they were given to
const arriving = {}; // uploads on their way
const POLL = 400; // milliseconds
let job = null;

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { credentials: "same-origin", ...options });
  } catch {
    throw new Error("The server does not answer: is bridgepipe serve still running?");
  }
  const body = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

function complain(problem) {
  error.textContent = problem ? problem.message : "";
  if (problem) say("");
}

// pictures

async function give(zone, file) {
  const field = zone.dataset.picture, remarks = zone.querySelector(".remarks"), image = zone.querySelector("img");
  complain(null);
  delete given[field];
  image.hidden = true;
  remarks.textContent = "";
  if (file.size > Number(document.body.dataset.bytes)) {
    complain(new Error(document.body.dataset.tooLarge));
    return;
  }
  remarks.textContent = `${file.name}: being read`;
  const upload = ask(`pictures?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
  const mine = (arriving[field] = upload.catch(() => null));
  try {
    const picture = await upload;
    if (arriving[field] !== mine) return; // another was chosen meanwhile
    given[field] = picture.id;
    remarks.textContent = [`${picture.name}, ${picture.width} x ${picture.height} pixels`, ...picture.remarks].join(", ");
    image.src = `pictures/${picture.id}`;
    image.hidden = false;
  } catch (problem) {
    remarks.textContent = "";
    complain(problem);
  }
}

for (const zone of document.querySelectorAll(".drop")) {
  const input = zone.querySelector("input");
  input.addEventListener("change", () => input.files.length && give(zone, input.files[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length) give(zone, event.dataTransfer.files[0]);
  });
}
for (const kind of ["dragover", "drop"]) {
  window.addEventListener(kind, (event) => event.preventDefault()); // a file beside the field must not replace the page
}

// choices

const task = () => form.elements.task.value;
const panel = () => find(`.panel[data-task="${task()}"]`);

function shown() {
  for (const other of document.querySelectorAll(".panel")) other.hidden = other.dataset.task !== task();
  find("#by-hand").hidden = find("#auto").checked;
  start.disabled = job !== null || (task() === "edit" && find("#untrained") !== null);
}

function options() {
  const found = {};
  for (const field of panel().querySelectorAll("[data-option]")) found[field.dataset.option] = field.value;
  for (const field of panel().querySelectorAll("[data-number]")) found[field.dataset.number] = Number(field.value);
  for (const field of panel().querySelectorAll("[data-percent]")) {
    if (!field.closest("[hidden]")) found[field.dataset.percent] = Number(field.value) / 100;
  }
  return found;
}

form.addEventListener("change", shown);
form.addEventListener("input", (event) => {
  const output = form.querySelector(`output[for="${event.target.id}"]`);
  if (output) output.textContent = event.target.dataset.percent ? `${event.target.value} %` : event.target.value;
});

// work

function duration(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < 90) return `about ${5 * Math.ceil(seconds / 5)} s`;
  return `about ${Math.ceil(seconds / 60)} minutes`;
}

function follow(status) {
  if (status.state === "waiting") {
    progress.removeAttribute("value");
    say(status.ahead === 1 ? "Waiting: 1 picture before it" : `Waiting: ${status.ahead} pictures before it`);
    return;
  }
  if (status.share > 0) progress.value = status.share;
  else progress.removeAttribute("value");
  say(status.left === null ? "At work" : `At work, ${duration(status.left)} left`);
}

async function pictures() {
  const fields = task() === "colours" ? ["photograph", "palette"] : ["photograph"];
  await Promise.all(fields.map((field) => arriving[field]));
  for (const field of fields) {
    if (!given[field]) {
      find(`#${field}`).focus();
      throw new Error(field === "photograph" ? "Choose a photograph first." : "Choose the photograph with the colours first.");
    }
  }
  return fields.map((field) => given[field]);
}

function busy(on) {
  work.hidden = stop.hidden = !on;
  progress.removeAttribute("value");
  if (!on) job = null;
  shown();
}

async function run() {
  const chosen = { task: task(), pictures: await pictures(), options: options() };
  const asked = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(chosen) };
  job = (await ask("jobs", asked)).id;
  busy(true);
  for (;;) {
    const status = await ask(`jobs/${job}`);
    if (status.state === "done") return show(job, status, chosen.pictures[0]);
    if (status.state === "failed") throw new Error(status.error);
    if (status.state === "stopped") return say("Stopped");
    follow(status);
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (job) return;
  complain(null);
  start.disabled = true;
  try {
    await run();
  } catch (problem) {
    complain(problem);
  } finally {
    busy(false);
  }
});

stop.addEventListener("click", async () => {
  say("Stopping");
  try {
    await ask(`jobs/${job}`, { method: "DELETE" });
  } catch (problem) {
    complain(problem);
  }
});

// result

async function show(id, status, picture) {
  const before = find("#before"), after = find("#after");
  before.src = status.own ? `jobs/${id}/before` : `pictures/${picture}`;
  after.src = `jobs/${id}/after`;
  find("#download").href = `jobs/${id}/file`;
  find("#download").textContent = `Download ${status.name}`;
  find("#notes").textContent = status.notes.join(". ");
  await Promise.all([before.decode(), after.decode()]);
  both.classList.toggle("tiny", before.naturalWidth < 128);
  find("#result").hidden = false;
  slide(50);
  say("Done");
  find("#result-title").focus();
}

function slide(at) {
  slider.value = at;
  both.style.setProperty("--at", `${at}%`);
}

slider.addEventListener("input", () => slide(slider.value));
function drag(event) {
  if (event.buttons || event.type === "pointerdown") {
    const box = both.getBoundingClientRect();
    slide(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width))));
  }
}
both.addEventListener("pointerdown", (event) => {
  both.setPointerCapture(event.pointerId);
  drag(event);
});
both.addEventListener("pointermove", drag);
for (const image of both.querySelectorAll("img")) image.draggable = false;

shown();
