// What the model sees of the sketch, shown where it is not what was drawn.

export class Seen {
  #figure;
  #canvas;
  #caption;

  constructor(figure) {
    this.#figure = figure;
    this.#canvas = figure.querySelector("canvas");
    this.#caption = figure.querySelector("p");
  }

  hide() {
    this.#figure.hidden = true;
  }

  /** `seen` is `sketch` of the server's answer. */
  async show({ changes, image }, signal) {
    if (image === null) return this.hide();
    const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
    const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    signal.throwIfAborted();
    this.#canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    this.#caption.textContent = `Searched for this: ${changes.join(", ")}.`;
    this.#figure.hidden = false;
  }
}
