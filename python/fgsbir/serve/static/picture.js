// Uploaded pictures: any kind that the browser shows, no larger than the server needs.

const LARGEST = 1024; // pixels on a side that are kept

/** A picture as a step of a sketch: { image, paper } (sketch.js). */
export async function pictureStep(file) {
  const image = file.type === "image/svg+xml" ? await drawnSvg(file) : await shrunk(file);
  return { image, paper: paperOf(image) };
}

async function shrunk(file) {
  const picture = await createImageBitmap(file);
  try {
    return copy(picture, picture.width, picture.height, Math.min(1, LARGEST / Math.max(picture.width, picture.height)));
  } finally {
    picture.close();
  }
}

/** An SVG file has no pixels, and need not say its size. */
async function drawnSvg(file) {
  const picture = new Image();
  picture.src = URL.createObjectURL(file);
  try {
    await picture.decode();
    const [width, height] = [picture.naturalWidth || 1, picture.naturalHeight || 1];
    return copy(picture, width, height, LARGEST / Math.max(width, height));
  } finally {
    URL.revokeObjectURL(picture.src);
  }
}

function copy(picture, width, height, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * The colour of a picture's middle, where the sheet is, if it covers most; for strokes on nothing what shows them,
 * white or dark.
 */
function paperOf(canvas) {
  const small = document.createElement("canvas");
  const side = (small.width = small.height = 128);
  const isMiddle = (place) => place >= side / 4 && place < (3 * side) / 4;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  const colours = [[], [], []];
  let [light, covered] = [0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    covered += alpha;
    light += (alpha * (data[i] + data[i + 1] + data[i + 2])) / 3;
    const [x, y] = [(i / 4) % side, Math.floor(i / 4 / side)];
    if (alpha > 200 && isMiddle(x) && isMiddle(y)) colours.forEach((values, c) => values.push(data[i + c]));
  }
  if (covered > 0.5 * 255 * side * side && colours[0].length) {
    const colour = colours.map((values) => values.sort((a, b) => a - b)[values.length >> 1]);
    const isDark = colour[0] + colour[1] + colour[2] < 3 * 128;
    return { ground: `rgb(${colour.join(" ")})`, ink: isDark ? "white" : "black", isTransparent: false };
  }
  if (light > 0.65 * 255 * covered) return { ground: "dimgray", ink: "white", isTransparent: true };
  return { ground: "white", ink: "black", isTransparent: true };
}
