// Keeping of the sketch while the page is left: over a reload, and for the way back.

const KEY = `sketch of ${location.pathname}`;
const LARGE = 1e6; // characters, of five million that a browser keeps for a page
const files = new WeakMap(); // of pictures, so that none loses by being kept twice

/** Keeps a sketch whenever the page is left or hidden. */
export function keep(sketch) {
  const store = () => document.visibilityState === "hidden" && write(sketch.steps);
  document.addEventListener("visibilitychange", store);
  addEventListener("pagehide", () => write(sketch.steps));
}

/** Gives a sketch, if nothing is drawn on it yet, what was kept. */
export async function restore(sketch) {
  const steps = await read();
  if (steps && !sketch.canUndo && !sketch.canRedo) sketch.restore(steps);
}

function write({ done, undone }) {
  try {
    const text = JSON.stringify({ done: done.map(packed), undone: undone.map(packed) });
    sessionStorage.setItem(KEY, text);
  } catch {
    forget(); // storage is blocked or full: an older sketch would be the wrong one
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
    // see write()
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
  if (!step.image) return step;
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
