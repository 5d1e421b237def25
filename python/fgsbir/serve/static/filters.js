// Filters: attributes that photos must or must not have, and the weight of attributes.

import { element, icon } from "./dom.js";

const STATES = ["any", "must", "must-not"];
const SPOKEN = { any: "any", must: "must have", "must-not": "must not have" };
const PAUSE = 120; // milliseconds without a move of the slider before it counts

export class Filters extends EventTarget {
  #states = new Map(); // attribute -> state, "any" left out
  #names = [];
  #shown = new Set(); // attributes that the sketch seems to show
  #parts;
  #timer = 0;
  #initial = 0;

  constructor(parts) {
    super();
    this.#parts = parts;
    parts.weight.addEventListener("input", () => {
      this.#render();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#changed(), PAUSE);
    });
    parts.reset.addEventListener("click", () => {
      this.reset();
      parts.chips.querySelector("button").focus(); // this button is about to vanish
    });
  }

  /** Begins with the attributes of a gallery; without any there is nothing to filter by. */
  start({ attributes, attribute_weight: weight }) {
    this.#names = attributes;
    this.#initial = weight;
    this.#parts.weight.max = Math.max(1, 2 * weight);
    this.#parts.weight.value = weight;
    this.#parts.panel.hidden = attributes.length === 0;
    this.#render();
  }

  /** As the search wants it. */
  get values() {
    const having = (state) => this.#names.filter((name) => this.#states.get(name) === state);
    return { weight: this.#weight, must: having("must"), mustNot: having("must-not") };
  }

  get isDemanding() {
    return this.#states.size > 0;
  }

  /** Marks what the sketch seems to show, by probability. */
  mark(probabilities) {
    const shown = Object.keys(probabilities).filter((name) => probabilities[name] > 0.5);
    if (shown.join() === [...this.#shown].join()) return;
    this.#shown = new Set(shown);
    this.#render();
  }

  reset() {
    this.#states.clear();
    this.#parts.weight.value = this.#initial;
    this.#render();
    this.#changed();
  }

  /** A button that takes an attribute from one state to the next. */
  chip(name, { kind = "", label = name, note = "" } = {}) {
    const state = this.#states.get(name) ?? "any";
    const marks = { any: null, must: icon("check"), "must-not": icon("cross") };
    return element(
      "button",
      {
        class: `chip ${kind}`,
        type: "button",
        "data-state": state,
        "data-key": `chip ${name}`,
        "aria-label": `${label}${note && `, ${note}`}: ${SPOKEN[state]}`,
        title: `${label}${note && ` (${note})`}: ${SPOKEN[state]}`,
        on: { click: () => this.#advance(name) },
      },
      marks[state],
      label,
    );
  }

  get #weight() {
    return Number(this.#parts.weight.value);
  }

  #advance(name) {
    const state = STATES[(STATES.indexOf(this.#states.get(name) ?? "any") + 1) % STATES.length];
    if (state === "any") this.#states.delete(name);
    else this.#states.set(name, state);
    this.#render();
    this.#changed();
  }

  #changed() {
    clearTimeout(this.#timer);
    this.dispatchEvent(new Event("change"));
  }

  #render() {
    const { chips, value, reset, count, weight } = this.#parts;
    const focused = chips.contains(document.activeElement) && document.activeElement.dataset.key;
    chips.replaceChildren(
      ...this.#names.map((name) =>
        this.#shown.has(name)
          ? this.chip(name, { kind: "filter is-shown", note: "seems to be in your sketch" })
          : this.chip(name, { kind: "filter" }),
      ),
    );
    if (focused) chips.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    value.textContent = this.#weight.toFixed(2);
    weight.setAttribute("aria-valuetext", this.#weight.toFixed(2));
    reset.hidden = !this.isDemanding && this.#weight === this.#initial;
    count.hidden = !this.isDemanding;
    count.textContent = `${this.#states.size} pinned`;
  }
}
