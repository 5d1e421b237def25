// Sketch model: a list of steps, of which the last may be undone.
//
// A step is a stroke { points: [x, y, pressure, ...], width, erases }, a picture { image } or
// { clears: true }. Coordinates are shares of the side; widths are pixels of a side of 256, the
// size that models are trained on.

export const SIDE = 256;
const WHITE = 0xffffffff;

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
    return !this.visible().some((step) => step.image || (step.points && !step.erases));
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

/** Draws steps into a context whose canvas is `side` pixels wide, over what is there. */
export function drawSteps(context, steps, side) {
  context.lineCap = context.lineJoin = "round";
  for (const step of steps) {
    if (step.clears) context.clearRect(0, 0, side, side);
    else if (step.image) drawImage(context, step.image, side);
    else drawStroke(context, step, side);
  }
}

/** The sketch as the server wants it: a PNG, black on white. Null where the paper is blank. */
export function toPng(sketch) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  drawSteps(context, sketch.visible(), SIDE);
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "white";
  context.fillRect(0, 0, SIDE, SIDE);
  const pixels = new Uint32Array(context.getImageData(0, 0, SIDE, SIDE).data.buffer);
  if (pixels.every((pixel) => pixel === WHITE)) return null;
  // Not toBlob(), which waits for an idle moment of the browser: that took longer than the search.
  const encoded = canvas.toDataURL("image/png").split(",")[1];
  return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
}

function drawImage(context, image, side) {
  const scale = side / Math.max(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  context.fillStyle = "white";
  context.fillRect(0, 0, side, side);
  context.drawImage(image, (side - width) / 2, (side - height) / 2, width, height);
}

function drawStroke(context, { points, width, erases }, side) {
  context.strokeStyle = context.fillStyle = erases ? "white" : "black";
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
