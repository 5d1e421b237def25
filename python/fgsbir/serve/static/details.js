// Dialog of one photo in full size, with the attributes that agree or differ.

import { element, icon } from "./dom.js";

/** Opens the dialog on a match of an answer; `weight` is the attribute weight that it was found with. */
export function openDetails(dialog, match, answer, weight) {
  const close = element(
    "button",
    { class: "button icon-only close", type: "button", "aria-label": "Close", on: { click: () => dialog.close() } },
    icon("cross"),
  );
  dialog.replaceChildren(
    element("img", { class: "large", src: `${match.photo}&size=large`, alt: match.name }),
    element(
      "div",
      { class: "details-text" },
      element("h2", { id: "details-title" }, match.name),
      element("p", { class: "sum" }, ...sum(match, weight)),
      match.agree.length + match.differ.length ? table(match, answer.sketch_attributes) : null,
    ),
    close,
  );
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}

function sum(match, weight) {
  const distance = element("strong", {}, match.distance.toFixed(3));
  if (!weight) return ["Distance ", distance, ", of the shapes alone"];
  return [
    "Distance ",
    distance,
    ` = ${match.embedding_distance.toFixed(3)} of the shapes + ${weight.toFixed(2)} × ` +
      `${match.attribute_distance.toFixed(3)} of the attributes`,
  ];
}

function table(match, sketch) {
  const row = (name, agrees) =>
    element(
      "tr",
      { class: agrees ? "agrees" : "differs" },
      element("th", { scope: "row" }, name),
      cell(sketch[name]),
      cell(match.attributes[name]),
      element("td", { class: "verdict" }, agrees ? "agrees" : "differs"),
    );
  const head = ["Attribute", "Sketch", "Photo", ""].map((text) =>
    text ? element("th", { scope: "col" }, text) : element("td"),
  );
  return element(
    "div",
    { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Predicted attributes" },
    element(
      "table",
      {},
      element("caption", {}, "Attributes as predicted in your sketch and in the photo"),
      element("thead", {}, element("tr", {}, ...head)),
      element(
        "tbody",
        {},
        ...match.differ.map((name) => row(name, false)),
        ...match.agree.map((name) => row(name, true)),
      ),
    ),
  );
}

function cell(probability) {
  const bar = element("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", probability);
  return element("td", {}, element("span", { class: "share" }, bar, `${Math.round(100 * probability)}%`));
}
