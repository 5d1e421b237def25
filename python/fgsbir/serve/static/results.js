// List of photos: shown when all of them have arrived; until then the last one stays.

import { element, icon } from "./dom.js";

const PATIENCE = 1500; // milliseconds to wait for photos before showing what is there

export class Results {
  #list;
  #filters;
  #open;

  /** `open(match, answer)` is called when someone wants to know more about a photo. */
  constructor(list, filters, open) {
    this.#list = list;
    this.#filters = filters;
    this.#open = open;
  }

  get isEmpty() {
    return this.#list.childElementCount === 0;
  }

  set busy(busy) {
    this.#list.ariaBusy = busy;
  }

  clear() {
    this.#list.replaceChildren();
  }

  /** Grey cards in place of the first answer. */
  showPlaceholders(count) {
    const card = () => element("li", { class: "card placeholder" }, element("div", { class: "shot" }));
    this.#list.replaceChildren(...Array.from({ length: count }, card));
  }

  /** Replaces the list; nothing changes if the signal says that it is out of date by then. */
  async show(answer, signal) {
    const kept = new Map([...this.#list.querySelectorAll("img")].map((img) => [img.dataset.photo, img]));
    const photos = answer.matches.map(
      (match) =>
        kept.get(match.photo) ??
        element("img", { "data-photo": match.photo, src: match.photo, decoding: "sync" }),
    );
    const all = Promise.all(photos.map(settled));
    await Promise.race([all, new Promise((done) => setTimeout(done, PATIENCE))]);
    signal.throwIfAborted();
    const focused = this.#focused();
    this.#list.replaceChildren(
      ...answer.matches.map((match, i) => this.#card(match, i + 1, photos[i], answer)),
    );
    this.#restore(focused);
  }

  #card(match, rank, img, answer) {
    img.alt = match.name;
    img.className = "photo";
    const isNew = img.closest("li") === null;
    const shot = element(
      "button",
      { class: "shot", type: "button", "data-key": `photo ${match.index}`, on: { click: () => this.#open(match, answer) } },
      element("span", { class: "rank" }, element("span", { class: "visually-hidden" }, "Number "), `${rank}`),
      img,
      element("span", { class: "visually-hidden" }, ", details"),
    );
    const broken = () => img.replaceWith(element("span", { class: "broken" }, icon("broken"), "Photo is gone"));
    if (img.complete && img.naturalWidth === 0) broken();
    else img.addEventListener("error", broken, { once: true });
    const total = match.agree.length + match.differ.length;
    return element(
      "li",
      { class: isNew ? "card is-new" : "card" },
      shot,
      element(
        "div",
        { class: "caption" },
        element("p", { class: "name", title: match.name }, match.name),
        element("p", { class: "quiet" }, `distance ${match.distance.toFixed(3)}`),
        match.copies ? element("p", { class: "quiet" }, `and ${match.copies} ${match.copies === 1 ? "copy" : "copies"}`) : null,
        total ? element("p", { class: "quiet" }, `${match.agree.length} of ${total} agree`) : null,
      ),
      this.#attributes(match),
    );
  }

  #attributes(match) {
    const has = (name) => match.attributes[name] > 0.5;
    const chips = [
      ...match.agree.filter(has).map((name) => this.#filters.chip(name, { kind: "agrees", note: "as in your sketch" })),
      ...match.differ.map((name) =>
        this.#filters.chip(name, {
          kind: "differs",
          label: has(name) ? name : `no ${name}`,
          note: "unlike your sketch",
        }),
      ),
    ];
    return chips.length ? element("div", { class: "chips" }, ...chips) : null;
  }

  /** What has the focus, so that it is not lost when its card is made anew. */
  #focused() {
    const active = document.activeElement;
    if (!this.#list.contains(active)) return null;
    return { key: active.dataset.key, photo: active.closest("li").querySelector(".shot").dataset.key };
  }

  #restore(focused) {
    if (!focused) return;
    const find = (root, key) => root?.querySelector(`[data-key="${CSS.escape(key)}"]`);
    const shot = find(this.#list, focused.photo);
    const target = find(shot?.closest("li"), focused.key) ?? find(document, focused.key) ?? shot;
    (target ?? this.#list.closest("section")).focus();
  }
}

/** Waits until a photo has arrived, or will not. */
function settled(img) {
  if (img.complete) return null;
  return new Promise((done) => {
    img.addEventListener("load", done, { once: true });
    img.addEventListener("error", done, { once: true });
  });
}
