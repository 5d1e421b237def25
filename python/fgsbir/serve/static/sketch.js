// Sketch model: a list of steps, of which the last may be undone.
//
// A step is a stroke { points: [x, y, pressure, ...], width, erases }, a picture { image, paper } (picture.js) or
// { clears: true }. Coordinates are shares of the side; widths are pixels of a side of 256, the size that models are
// trained on. A paper is { ground, ink, isTransparent }: the colours of the eraser and of the pen, and whether the
// paper is no part of the picture, which then is of strokes on nothing.

export const SIDE = 256;
const PICTURE_SIDE = 1024; // pixels of the longer side of what the server gets of a picture
const LARGEST_FILE = 1e6; // bytes, which proxies let through as they come
const WHITE = { ground: "white", ink: "black", isTransparent: false };

export class Sketch extends EventTarget {
  #done = [];
  #undone = [];

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Whether there is nothing on the paper. */
  get isEmpty() {
    return !this.visible().some((step) => step.image || (step.points && !step.erases && isOnPaper(step)));
  }

  /** The steps since the paper was last blank. */
  visible() {
    const start = this.#done.findLastIndex((step) => step.clears || step.image);
    return this.#done.slice(Math.max(start, 0));
  }

  add(step) {
    this.#done.push(step);
    this.#undone = [];
    this.#changed();
  }

  /** All steps, those that were undone too. */
  get steps() {
    return { done: this.#done, undone: this.#undone };
  }

  /** Goes on from the steps of another sketch. */
  restore({ done, undone }) {
    [this.#done, this.#undone] = [done, undone];
    this.#changed();
  }

  undo() {
    if (this.canUndo) {
      this.#undone.push(this.#done.pop());
      this.#changed();
    }
  }

  redo() {
    if (this.canRedo) {
      this.#done.push(this.#undone.pop());
      this.#changed();
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Draws steps into a context whose canvas is `side` pixels wide, over what is there. Where `isTransparent`, the
 * paper is not painted and the eraser leaves nothing.
 */
export function drawSteps(context, steps, side, { paper = paperOf(steps), isTransparent = false } = {}) {
  context.lineCap = context.lineJoin = "round";
  for (const step of steps) {
    if (step.clears) context.clearRect(0, 0, side, side);
    else if (step.image) drawImage(context, step, side, isTransparent);
    else drawStroke(context, step, side, paper, isTransparent);
  }
}

/** White, or what a picture needs. */
export function paperOf(steps) {
  return steps.find((step) => step.image)?.paper ?? WHITE;
}

/** The sketch as a file for the server, which reads it. Null where nothing is on the paper. */
export function toFile(sketch, largest = PICTURE_SIDE) {
  if (sketch.isEmpty) return null;
  const steps = sketch.visible();
  const picture = steps.find((step) => step.image);
  const side = picture ? Math.min(largest, sideOf(picture.image, steps)) : sideFor(steps);
  const all = [0, 0, side, side];
  const [left, top, width, height] = picture && !reachBeyond(steps, picture.image) ? pictureBox(picture.image, side) : all;
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(width);
  canvas.height = Math.ceil(height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.translate(-left, -top);
  const { ground, isTransparent } = paperOf(steps);
  if (!isTransparent) {
    context.fillStyle = ground;
    context.fillRect(...all);
  }
  drawSteps(context, steps, side, { isTransparent });
  const type = picture && !isTransparent && side > 2 * SIDE ? "image/jpeg" : "image/png";
  // Not toBlob(), which waits for an idle moment of the browser: that took longer than the search.
  const encoded = canvas.toDataURL(type, 0.9).split(",")[1];
  const file = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  return file.length > LARGEST_FILE && picture && side > SIDE ? toFile(sketch, side / 2) : file;
}

/** A picture is sent as large as it is, unless something is drawn on it. */
function sideOf({ width, height }, steps) {
  return steps.length > 1 ? PICTURE_SIDE : Math.max(width, height);
}

/** A small drawing is painted finer, since the server enlarges it. */
function sideFor(steps) {
  const [left, top, right, bottom] = strokesBox(steps);
  return Math.max(right - left, bottom - top) > 0.5 ? SIDE : 2 * SIDE;
}

/** Whether strokes lie beside the picture that they were drawn over. */
function reachBeyond(steps, image) {
  const [left, top, right, bottom] = strokesBox(steps);
  const [x, y, width, height] = pictureBox(image, 1);
  return left < right && (left < x || top < y || right > x + width || bottom > y + height);
}

/** Left, top, right and bottom of all strokes of the pen on the paper, in shares of the side. */
function strokesBox(steps) {
  return boxOf(steps).map((value) => Math.min(Math.max(value, 0), 1));
}

/** Whether a stroke, which may run over the edge, is on the paper at all. */
function isOnPaper(step) {
  const [left, top, right, bottom] = boxOf([step]);
  return left <= 1 && top <= 1 && right >= 0 && bottom >= 0;
}

function boxOf(steps) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { points = [], erases } of steps) {
    for (let i = 0; i < points.length && !erases; i += 3) {
      box[0] = Math.min(box[0], points[i]);
      box[1] = Math.min(box[1], points[i + 1]);
      box[2] = Math.max(box[2], points[i]);
      box[3] = Math.max(box[3], points[i + 1]);
    }
  }
  return box;
}

function drawImage(context, { image, paper }, side, isTransparent) {
  if (!isTransparent) {
    context.fillStyle = paper.ground;
    context.fillRect(0, 0, side, side);
  }
  context.imageSmoothingQuality = "high";
  context.drawImage(image, ...pictureBox(image, side));
}

/** Left, top, width and height of a picture in the middle of a square. */
function pictureBox({ width, height }, side) {
  const scale = side / Math.max(width, height);
  return [(side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale];
}

function drawStroke(context, { points, width, erases }, side, { ground, ink }, isTransparent) {
  context.globalCompositeOperation = erases && isTransparent ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = erases ? ground : ink;
  const scale = side / SIDE;
  const at = (i) => [points[3 * i] * side, points[3 * i + 1] * side];
  const thickness = (i) => width * scale * points[3 * i + 2];
  const count = points.length / 3;
  if (count === 1) {
    context.beginPath();
    context.arc(...at(0), thickness(0) / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  // Curves from middle to middle of the points, which they pull at: smooth however fast the hand.
  let from = at(0);
  for (let i = 1; i < count; i++) {
    const [x, y] = at(i);
    const [px, py] = at(i - 1);
    const to = i === count - 1 ? [x, y] : [(px + x) / 2, (py + y) / 2];
    context.beginPath();
    context.moveTo(...from);
    context.quadraticCurveTo(px, py, ...to);
    context.lineWidth = thickness(i);
    context.stroke();
    from = to;
  }
}
