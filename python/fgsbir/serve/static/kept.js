// Keeping of the sketch while the page is left: over a reload, and for the way back.

const KEY = `sketch of ${location.pathname}`;
const LARGE = 1e6; // characters, of five million that a browser keeps for a page
const files = new WeakMap(); // of pictures, so that none loses by being kept twice

/** Keeps a sketch whenever the page is left or hidden. */
export function keep(sketch) {
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && write(sketch));
  addEventListener("pagehide", () => write(sketch));
}

/** Gives a sketch, if nothing is drawn on it yet, what was kept. */
export async function restore(sketch) {
  const steps = await read();
  if (steps && !sketch.canUndo && !sketch.canRedo) sketch.restore(steps);
}

function write(sketch) {
  // Where storage is full, what can be seen alone; where it is blocked, nothing: an older sketch would be wrong.
  if (!set(sketch.steps) && !set({ done: sketch.visible(), undone: [] })) forget();
}

function set({ done, undone }) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ done: done.map(packed), undone: undone.map(packed) }));
    return true;
  } catch {
    return false;
  }
}

async function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    if (!kept) return null;
    const [done, undone] = await Promise.all([kept.done, kept.undone].map((steps) => Promise.all(steps.map(unpacked))));
    return { done, undone };
  } catch {
    forget();
    return null;
  }
}

function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // it is blocked
  }
}

function packed(step) {
  if (!step.image) return step;
  if (!files.has(step.image)) {
    const png = step.image.toDataURL();
    const isLarge = png.length > LARGE && !step.paper.isTransparent;
    files.set(step.image, isLarge ? step.image.toDataURL("image/jpeg", 0.95) : png);
  }
  return { ...step, image: files.get(step.image) };
}

async function unpacked(step) {
  if (!step.image) {
    const isStroke = Array.isArray(step.points) && step.points.length > 0 && step.width > 0;
    if (!isStroke && step.clears !== true) throw new TypeError("no step");
    return step;
  }
  const [head, content] = step.image.split(",");
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: head.slice(5).split(";")[0] }));
  const image = document.createElement("canvas");
  [image.width, image.height] = [bitmap.width, bitmap.height];
  image.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  files.set(image, step.image);
  return { ...step, image };
}
