// Drawing area: turns pointer and keyboard input into steps of a sketch, and shows it.

import { drawSteps, paperOf } from "./sketch.js";

const ERASER = 6; // times as wide as the pen
const STEP = 0.02; // of the side, for an arrow key; with Shift four times that
const PALM = 500; // milliseconds after a pen was last seen in which a finger is taken for the palm beside it
const LOST = 3000; // milliseconds without a word of what draws, after which it may be gone
const STILL = 0.1; // of the side, that a palm may move

export class Paper {
  width = 2.5;
  erasing = false;
  #sketch;
  #canvas;
  #context;
  #kept = document.createElement("canvas"); // all finished steps
  #stroke = null; // the one being drawn
  #pointer = null; // that draws: { id, type, seen }
  #penSeen = -Infinity; // when a pen was last near, drawing or not
  #crosshair;
  #state;
  #at = [0.5, 0.5]; // of the crosshair
  #drawingByKey = false;
  #frame = 0;

  /** `state` is where screen readers hear of the pen that keys move. */
  constructor(sketch, canvas, crosshair, state) {
    this.#sketch = sketch;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#crosshair = crosshair;
    this.#state = state;
    sketch.addEventListener("change", () => this.#redraw());
    new ResizeObserver(() => this.#redraw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
    canvas.addEventListener("lostpointercapture", (event) => this.#up(event));
    // A window that is switched to takes the mouse along, and the end of its stroke.
    addEventListener("blur", () => this.#pointer?.type === "mouse" && this.#end());
    // A pen's button, and a finger held still, would open a menu over the drawing.
    canvas.addEventListener("contextmenu", (event) => event.pointerType !== "mouse" && event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("focus", () => this.#showCrosshair());
    canvas.addEventListener("blur", () => {
      this.#finishByKey();
      crosshair.hidden = true;
    });
  }

  /** Ends the stroke that is being drawn, if there is one. */
  finish() {
    if (this.#pointer) this.#end();
    this.#finishByKey();
  }

  /** Forgets the stroke that is being drawn; false if there is none. */
  abandon() {
    if (!this.#stroke) return false;
    this.#pointer = this.#stroke = null;
    this.#liftByKey();
    this.#paintSoon();
    return true;
  }

  #down(event) {
    this.#meetPen(event);
    if (event.pointerType === "mouse" ? event.button !== 0 : !touches(event)) return;
    if (!this.#makeWay(event)) return;
    this.#finishByKey();
    this.#crosshair.hidden = true;
    this.#pointer = { id: event.pointerId, type: event.pointerType, seen: event.timeStamp };
    try {
      this.#canvas.setPointerCapture(event.pointerId);
    } catch {
      // It has gone by now; what it did is drawn all the same.
    }
    this.#begin(event.button === 5 || this.erasing); // 5 is a pen's other end
    this.#add(event);
    this.#paintSoon();
  }

  /** Whether a pointer that goes down may draw. One does at a time; of the others some have gone, or give way. */
  #makeWay(event) {
    const { id, type, seen } = this.#pointer ?? {};
    const sincePen = event.timeStamp - this.#penSeen;
    if (event.pointerType === "touch" && sincePen < PALM) return false;
    if (!this.#pointer) return true;
    const isSilent = event.timeStamp - seen > LOST;
    if (type === "touch" && event.pointerType === "pen") {
      return isSilent && this.#hasMoved() ? this.#end() : this.abandon(); // the palm came first
    }
    const isAgain = id === event.pointerId || (type === event.pointerType && event.isPrimary);
    if (isAgain || isSilent || [type, event.pointerType].includes("mouse")) return this.#end();
    return false; // a second finger, or a palm beside the pen
  }

  /** Whether the stroke being drawn has gone farther than a palm that lies still. */
  #hasMoved() {
    const { points } = this.#stroke;
    const [x, y] = points;
    return points.some((_, i) => i % 3 === 0 && Math.hypot(points[i] - x, points[i + 1] - y) > STILL);
  }

  #meetPen(event) {
    if (event.pointerType === "pen") this.#penSeen = event.timeStamp;
  }

  #move(event) {
    this.#meetPen(event);
    if (event.pointerId !== this.#pointer?.id) {
      // With its button held a pen comes down without a word.
      if (!this.#pointer && event.pointerType === "pen" && event.buttons & 2 && touches(event)) this.#down(event);
      return;
    }
    this.#pointer.seen = event.timeStamp;
    if (!touches(event)) {
      this.#end();
      return;
    }
    const all = event.getCoalescedEvents?.() ?? [];
    for (const one of all.length ? all : [event]) this.#add(one);
    this.#paintSoon();
  }

  #up(event) {
    this.#meetPen(event);
    if (event.pointerId === this.#pointer?.id) this.#end();
  }

  #cancel(event) {
    if (event.pointerId === this.#pointer?.id) this.abandon();
  }

  /** Finishes the stroke of the pointer that draws. */
  #end() {
    this.#pointer = null;
    this.#finish();
    return true;
  }

  #begin(erases) {
    this.#stroke = { points: [], width: this.width * (erases ? ERASER : 1), erases };
  }

  #add(event) {
    const box = this.#canvas.getBoundingClientRect();
    const pressure = event.pointerType === "pen" && event.pressure ? 0.4 + 1.2 * event.pressure : 1;
    this.#addPoint((event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height, pressure);
  }

  #addPoint(x, y, pressure = 1) {
    const { points } = this.#stroke;
    // A pointer held still repeats its place; painted twice, the edge of the line would be darker there.
    if (points.at(-3) === x && points.at(-2) === y) {
      points[points.length - 1] = Math.max(points.at(-1), pressure);
      return;
    }
    points.push(x, y, pressure);
  }

  #finish() {
    const stroke = this.#stroke;
    this.#stroke = null;
    this.#sketch.add(stroke);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const reach = STEP * (event.shiftKey ? 4 : 1);
    const moves = {
      ArrowLeft: [-reach, 0],
      ArrowRight: [reach, 0],
      ArrowUp: [0, -reach],
      ArrowDown: [0, reach],
    };
    if (event.key in moves) {
      const limit = (value) => Math.min(Math.max(value, 0), 1);
      this.#at = this.#at.map((value, i) => limit(value + moves[event.key][i]));
      if (this.#drawingByKey) this.#addPoint(...this.#at);
      this.#showCrosshair(true);
      this.#paintSoon();
    } else if (event.key === " ") {
      if (this.#drawingByKey) this.#finishByKey();
      else {
        this.#drawingByKey = true;
        this.#state.textContent = "Pen down";
        this.#begin(this.erasing);
        this.#addPoint(...this.#at);
        this.#showCrosshair(true);
        this.#paintSoon();
      }
    } else return;
    event.preventDefault(); // of scrolling
  }

  #finishByKey() {
    if (this.#liftByKey()) this.#finish();
  }

  #liftByKey() {
    if (!this.#drawingByKey) return false;
    this.#drawingByKey = false;
    this.#state.textContent = "Pen up";
    this.#crosshair.classList.remove("is-down");
    return true;
  }

  #showCrosshair(byKey = this.#canvas.matches(":focus-visible")) {
    this.#crosshair.hidden = !byKey;
    this.#crosshair.classList.toggle("is-down", this.#drawingByKey);
    const [x, y] = this.#at;
    this.#crosshair.style.left = `${100 * x}%`;
    this.#crosshair.style.top = `${100 * y}%`;
  }

  #redraw() {
    const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    for (const canvas of [this.#canvas, this.#kept]) {
      if (canvas.width !== side) canvas.width = canvas.height = side;
    }
    const context = this.#kept.getContext("2d");
    context.clearRect(0, 0, side, side);
    drawSteps(context, this.#sketch.visible(), side);
    this.#paint();
  }

  #paintSoon() {
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const side = this.#canvas.width;
    this.#context.clearRect(0, 0, side, side);
    this.#context.drawImage(this.#kept, 0, 0);
    if (this.#stroke) drawSteps(this.#context, [this.#stroke], side, { paper: paperOf(this.#sketch.visible()) });
    this.#canvas.classList.toggle("has-ink", this.#stroke !== null || !this.#sketch.isEmpty);
  }
}

/** Whether a mouse's button is held, a finger or the tip or the other end of a pen is down; a pen may only be near. */
function touches({ pointerType, buttons, pressure }) {
  if (pointerType === "mouse") return (buttons & 1) !== 0;
  return pointerType !== "pen" || (buttons & (1 | 32)) !== 0 || pressure > 0;
}
