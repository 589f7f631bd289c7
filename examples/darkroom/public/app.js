// The page's states: nothing chosen, a picture chosen, working, done. `render` draws all of them
// from `state`; everything else changes `state` and calls it.

import { develop, Failure } from "./develop.js";

const $ = (id) => document.getElementById(id);
const form = $("form");

const ABOUT = {
  grayscale: "Every pixel becomes its luma: 0.299 red, 0.587 green, 0.114 blue.",
  resize: "Fits the picture into the box and keeps its aspect ratio. One side is enough.",
  blur: "A Gaussian blur. A wide one takes no longer than a narrow one.",
  edges: "Bright where the picture changes, black where it is flat, by the Sobel operator.",
};

const PARTS = [
  ["upload", "Upload", "#8e6fd8"],
  ["decode", "Decode", "#e5484d"],
  ["filter", "Filter", "#ff8a5c"],
  ["encode", "Encode", "#ffc46b"],
  ["network", "Network", "#5b8def"],
];

// How much of the bar each step takes, by what it takes on a large photograph.
const STEPS = { upload: 0.1, decode: 0.25, filter: 0.3, encode: 0.3, download: 0.05 };
const STEP_NAMES = { upload: "Uploading", decode: "Decoding", filter: "Filtering", encode: "Encoding", download: "Fetching" };

const state = { file: null, before: null, result: null, error: null, progress: null, abort: null };

// The slider runs evenly from fine to coarse: 0.3 px to 150 px.
const sigma = () => Number((0.3 * 500 ** (form.sigma.value / 100)).toPrecision(2));

function query() {
  const op = form.op.value;
  const values = new URLSearchParams({ op });
  if (op === "resize") for (const side of ["width", "height"]) if (form[side].value) values.set(side, form[side].value);
  if (op === "blur") values.set("sigma", sigma());
  if (form.format.value) values.set("format", form.format.value);
  return values;
}

/** What a file is by its first bytes: its type comes from its name, which may be wrong or absent. */
async function kind(file) {
  const start = new Uint8Array(await file.slice(0, 4).arrayBuffer().catch(() => new ArrayBuffer(0)));
  const begins = (...bytes) => bytes.every((byte, i) => byte === start[i]);
  if (begins(0x89, 0x50, 0x4e, 0x47)) return "image/png";
  return begins(0xff, 0xd8, 0xff) ? "image/jpeg" : file.type;
}

let taken = 0;

async function take(given) {
  if (!given) return;
  const mine = ++taken;
  const type = await kind(given);
  if (mine !== taken) return; // another one was dropped meanwhile
  const file = type === given.type ? given : new File([given], given.name, { type });
  const focus = document.activeElement === $("choose");
  state.abort?.abort();
  release(state.before);
  release(state.result);
  Object.assign(state, { file, abort: null, before: null, result: null, error: null, progress: null });
  if (type !== "image/png" && type !== "image/jpeg") {
    state.file = null;
    state.error = new Failure("This is not a PNG or JPEG", `“${file.name}” is ${type || "of an unknown kind"}.`, "Choose another picture, or convert this one first.");
    render();
    return;
  }
  const before = { url: URL.createObjectURL(file), width: 0, height: 0 };
  state.before = before;
  $("before").onload = () => {
    before.width = $("before").naturalWidth;
    before.height = $("before").naturalHeight;
    $("frame").style.setProperty("--ratio", `${before.width} / ${before.height}`);
    render();
  };
  $("before").src = before.url;
  run();
  if (focus) $("go").focus(); // the button that had it is gone
}

function release(picture) {
  if (picture) URL.revokeObjectURL(picture.url);
}

async function run() {
  const { file } = state;
  if (!file) return;
  if (!form.reportValidity()) return render();
  const abort = new AbortController();
  state.abort?.abort();
  release(state.result);
  Object.assign(state, { abort, result: null, error: null, progress: { step: "upload", fraction: 0 } });
  render();
  try {
    const answer = await develop(file, query(), abort.signal, (step, fraction) => {
      if (state.abort !== abort) return;
      state.progress = { step, fraction };
      renderProgress();
    });
    if (state.abort !== abort) return;
    const url = URL.createObjectURL(answer.blob);
    $("after").src = url;
    await $("after").decode().catch(() => {});
    state.result = { ...answer, url, op: form.op.value };
    $("compare").value = 50;
  } catch (error) {
    if (state.abort !== abort || error.name === "AbortError") return;
    state.error = error instanceof Failure ? error : new Failure("Something went wrong", String(error.message ?? error));
  } finally {
    if (state.abort === abort) {
      Object.assign(state, { abort: null, progress: null });
      render();
    }
  }
}

function render() {
  const { file, before, result, error, progress } = state;
  const working = progress !== null;

  $("drop").hidden = Boolean(file);
  $("viewer").hidden = !file;
  $("frame").classList.toggle("single", !result);
  $("frame").classList.toggle("working", working);
  $("name").textContent = file ? [file.name, bytes(file.size), before?.width ? pixels(before) : ""].filter(Boolean).join("  ·  ") : "";
  slide();

  const op = form.op.value;
  $("about").textContent = ABOUT[op];
  for (const fields of form.querySelectorAll("[data-for]")) fields.hidden = fields.dataset.for !== op;
  $("sigma-value").textContent = `${sigma()} px`;
  form.sigma.setAttribute("aria-valuetext", `${sigma()} pixels`);
  const unbounded = op === "resize" && !form.width.value && !form.height.value;
  form.width.setCustomValidity(unbounded ? "Give a width, a height or both." : "");

  // Not disabled while it works, as that would take the keyboard's focus away.
  $("go").disabled = !file;
  $("go").setAttribute("aria-disabled", working);
  $("go").textContent = working ? "Working…" : "Develop";
  if (!working && document.activeElement === $("cancel")) $("go").focus();
  $("cancel").hidden = !working;
  $("download").hidden = !result;

  const failed = error && $("error").hidden;
  $("error").hidden = !error;
  if (error) {
    $("error-title").textContent = error.title;
    $("error-detail").textContent = error.message;
    $("error-hint").textContent = error.hint ?? "";
  }
  if (failed) $("error").scrollIntoView({ block: "nearest" });

  $("result").hidden = !result;
  if (result) renderResult();
  $("progress").hidden = !working;
  if (working) renderProgress();
  else $("status").textContent = result ? `Done in ${milliseconds(result.total)}` : "";
}

function renderProgress() {
  const { step, fraction } = state.progress;
  let done = 0;
  for (const [name, share] of Object.entries(STEPS)) {
    if (name === step) break;
    done += share;
  }
  const percent = Math.round(100 * (done + STEPS[step] * fraction));
  $("progress-text").textContent = STEP_NAMES[step];
  $("progress-percent").textContent = `${percent} %`;
  $("bar").setAttribute("aria-valuenow", percent);
  $("bar").setAttribute("aria-valuetext", `${STEP_NAMES[step]}, ${percent} percent`);
  $("bar-fill").style.width = `${percent}%`;
  let past = true;
  for (const item of document.querySelectorAll(".steps li")) {
    const now = item.dataset.step === step;
    if (now) past = false;
    item.classList.toggle("now", now);
    item.classList.toggle("done", past);
  }
  if ($("status").textContent !== STEP_NAMES[step]) $("status").textContent = STEP_NAMES[step];
}

function renderResult() {
  const { file, before, result } = state;
  $("total").textContent = milliseconds(result.total);
  $("split").replaceChildren(...PARTS.map(([key, , color]) => {
    const part = document.createElement("i");
    part.style.cssText = `flex:${Math.max(result.times[key], 0)} 0 0; background:${color}`;
    return part;
  }));
  $("times").replaceChildren(...PARTS.map(([key, name, color]) => {
    const row = document.createElement("div");
    const [dot, term, time] = ["i", "dt", "dd"].map((tag) => document.createElement(tag));
    dot.style.background = color;
    term.textContent = name;
    time.textContent = milliseconds(result.times[key]);
    row.append(dot, term, time);
    return row;
  }));
  $("size-before").textContent = bytes(file.size);
  $("size-after").textContent = bytes(result.blob.size);
  $("pixels-before").textContent = before.width ? pixels(before) : "";
  $("pixels-after").textContent = pixels(result);
  $("format-before").textContent = format(file.type);
  $("format-after").textContent = format(result.blob.type);
  const base = file.name.replace(/\.[^.]*$/, "") || "picture";
  $("download").href = result.url;
  $("download").download = `${base}-${result.op}.${result.blob.type === "image/png" ? "png" : "jpg"}`;
}

function slide() {
  const share = $("compare").value;
  $("frame").style.setProperty("--split", `${share}%`);
  $("tag-before").style.opacity = share > 12 ? 1 : 0;
  $("tag-after").style.opacity = share < 88 ? 1 : 0;
  $("compare").setAttribute("aria-valuetext", `${share} percent original`);
}

function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}
const pixels = ({ width, height }) => `${width} × ${height}`;
const format = (type) => (type === "image/png" ? "PNG" : "JPEG");
const milliseconds = (time) => (time < 999.5 ? `${time < 10 ? time.toFixed(1) : time.toFixed(0)} ms` : `${(time / 1000).toFixed(2)} s`);

form.addEventListener("submit", (event) => { event.preventDefault(); if (!state.progress) run(); });
form.addEventListener("input", render);
$("choose").addEventListener("click", () => $("file").click());
$("another").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
$("compare").addEventListener("input", slide);
$("cancel").addEventListener("click", () => {
  state.abort?.abort();
  Object.assign(state, { abort: null, progress: null });
  render();
});

let depth = 0; // dragenter and dragleave fire for every element on the way
addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; document.body.classList.add("dragging"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) undrag(); });
addEventListener("drop", (event) => { event.preventDefault(); undrag(); take(event.dataTransfer.files[0]); });
addEventListener("paste", (event) => take(event.clipboardData.files[0]));
function undrag() { depth = 0; document.body.classList.remove("dragging"); }

render();
