// What the model sees of the sketch, shown where it is not what was drawn.

/** The picture in `sketch` of the server's answer, decoded; null where there is none. */
export async function pictureOf({ image }) {
  if (image === null) return null;
  const bytes = Uint8Array.from(atob(image), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }));
}

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

  /** Shows `sketch` of the server's answer, and its picture as `pictureOf` gave it. */
  show({ changes }, picture) {
    if (picture === null) return this.hide();
    this.#canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    this.#caption.textContent = `Searched for this: ${changes.join(", ")}.`;
    this.#figure.hidden = false;
  }
}
