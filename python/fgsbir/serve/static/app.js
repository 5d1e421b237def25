// The page: sketch, drawing area, filters, results, and a search whenever one of them changes.

import { galleryInfo, search } from "./api.js";
import { openDetails } from "./details.js";
import { element } from "./dom.js";
import { Filters } from "./filters.js";
import { keep, restore } from "./kept.js";
import { Paper } from "./paper.js";
import { pictureStep } from "./picture.js";
import { Results } from "./results.js";
import { pictureOf, Seen } from "./seen.js";
import { Sketch, toFile } from "./sketch.js";

const COUNT = 10;
const EMPTY = "The sketch is empty."; // what the server says of a sketch without lines
const by = (id) => document.getElementById(id);

const sketch = new Sketch();
const paper = new Paper(sketch, by("canvas"), by("crosshair"), by("pen-state"));
const filters = new Filters({
  panel: by("filters"),
  chips: by("chips"),
  weight: by("weight"),
  value: by("weight-value"),
  reset: by("reset"),
  count: by("filters-count"),
});
const seen = new Seen(by("seen"));
let shownWeight = 0;
const results = new Results(by("list"), filters, (match, answer) =>
  openDetails(by("details"), match, answer, shownWeight),
);

let gallery = null; // what the server says of it
let file = null; // of the sketch as it is, if there is ink; a slider asks for the same one again
let current = new AbortController();

/** Searches for the sketch as it is now; an earlier search that is still under way is dropped. */
async function refresh() {
  const begun = performance.now();
  current.abort();
  const { signal } = (current = new AbortController());
  notice(null);
  file ??= toFile(sketch);
  by("empty").hidden = file !== null;
  if (file === null) {
    forget();
    return;
  }
  results.busy = true;
  if (results.isEmpty) results.showPlaceholders(COUNT);
  try {
    await meetGallery();
    const asked = filters.values;
    const answer = await search(file, { k: COUNT, ...asked }, signal);
    const [, picture] = await Promise.all([results.show(answer, signal), pictureOf(answer.sketch)]);
    seen.show(answer.sketch, picture);
    shownWeight = asked.weight;
    filters.mark(answer.sketch_attributes);
    report(answer.matches.length);
    await new Promise((shown) => requestAnimationFrame(() => setTimeout(shown)));
    performance.measure("search", { start: begun });
  } catch (error) {
    if (!signal.aborted) fail(error, signal);
  } finally {
    if (!signal.aborted) results.busy = false;
  }
}

function report(count) {
  if (count) say(`${count} of ${gallery.photos.toLocaleString("en")} photos, nearest first`);
  else if (!filters.isDemanding) say("The gallery is empty");
  else {
    say("No photo fits");
    notice("No photo has all the attributes that you ask for.", "Reset attributes", () => filters.reset());
  }
}

/** Shows nothing, since there is nothing drawn. */
function forget() {
  results.busy = false;
  results.clear();
  seen.hide();
  filters.mark({});
  say("");
}

function fail(error, signal) {
  if (error.message === EMPTY) {
    forget();
    by("empty").hidden = false;
    notice("The sketch is empty: no lines can be seen on it.");
    return;
  }
  if (by("list").querySelector(".placeholder")) results.clear();
  say(results.isEmpty ? "" : "Found for an earlier sketch");
  if (error.retryAfter) {
    notice("The server is busy; trying again in a moment.");
    setTimeout(() => signal.aborted || refresh(), 1000 * error.retryAfter);
  } else notice(error.message, "Try again", refresh);
}

function say(text) {
  by("status").textContent = text;
}

function notice(text, label, action) {
  const box = by("notice");
  box.hidden = text === null;
  const button = label && element("button", { class: "button small", type: "button", on: { click: action } }, label);
  box.replaceChildren(...[text, button].filter(Boolean));
}

async function place(upload) {
  if (!upload) return;
  try {
    sketch.add(await pictureStep(upload));
  } catch {
    notice(`${upload.name || "That"} is not a picture that this browser can read.`);
  }
}

function useTool(erasing) {
  paper.erasing = erasing;
  by("pen").ariaPressed = !erasing;
  by("eraser").ariaPressed = erasing;
}

function setWidth(width) {
  by("width").value = width;
  paper.width = Number(by("width").value);
  by("width-dot").style.setProperty("--width", paper.width);
}

function undo() {
  if (!paper.abandon()) sketch.undo();
}

function clear() {
  paper.abandon();
  if (!sketch.isEmpty) sketch.add({ clears: true });
}

sketch.addEventListener("change", () => {
  file = null;
  // Not `disabled`, which would take the focus away from whoever has just pressed the button.
  by("undo").ariaDisabled = !sketch.canUndo;
  by("redo").ariaDisabled = !sketch.canRedo;
  by("clear").ariaDisabled = sketch.isEmpty;
  refresh();
});
filters.addEventListener("change", refresh);
by("undo").addEventListener("click", undo);
by("redo").addEventListener("click", () => sketch.redo());
by("clear").addEventListener("click", clear);
by("pen").addEventListener("click", () => useTool(false));
by("eraser").addEventListener("click", () => useTool(true));
by("width").addEventListener("input", (event) => setWidth(event.target.value));
by("upload").addEventListener("click", () => by("file").click());
by("file").addEventListener("change", (event) => {
  place(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});

document.addEventListener("paste", (event) => {
  place([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
});
// Anywhere on the page, since a browser leaves it for a file that is dropped beside the target.
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  place(event.dataTransfer.files[0]);
});
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && !event.altKey && (key === "z" || key === "y")) {
    event.preventDefault();
    if (key === "y" || event.shiftKey) sketch.redo();
    else undo();
  }
});
by("canvas").addEventListener("keydown", (event) => {
  if (event.key === "[") setWidth(paper.width - 0.5);
  else if (event.key === "]") setWidth(paper.width + 0.5);
  else if (event.key === "Delete") clear();
});

async function meetGallery() {
  if (gallery) return;
  const met = await galleryInfo();
  if (gallery) return; // by a stroke that did not wait
  gallery = met;
  by("about").textContent = `${gallery.name} · ${gallery.photos.toLocaleString("en")} photos`;
  document.title = `${gallery.name} · Search by sketch`;
  filters.start(gallery);
}

setWidth(by("width").value);
addEventListener("pagehide", () => paper.finish()); // before what there is is kept
keep(sketch);
restore(sketch);
by("filters").open = matchMedia("(min-width: 60rem)").matches;
meetGallery().catch((error) => notice(error.message, "Try again", refresh));
