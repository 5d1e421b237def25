// Uploaded pictures: any kind that the browser shows, no larger than the server needs.

const LARGEST = 1024; // pixels on a side that are kept

/** A picture as a step of a sketch: { image, ground }, ground the colour that shows its strokes. */
export async function pictureStep(file) {
  const image = file.type === "image/svg+xml" ? await drawnSvg(file) : await shrunk(file);
  return { image, ground: groundOf(image) };
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

/** White; dark for light strokes on nothing. Null where the picture covers all. */
function groundOf(canvas) {
  const small = document.createElement("canvas");
  small.width = small.height = 128;
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0, small.width, small.height);
  const { data } = context.getImageData(0, 0, small.width, small.height);
  let [light, covered, isOpaque] = [0, 0, true];
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    isOpaque &&= alpha === 255;
    covered += alpha;
    light += (alpha * (data[i] + data[i + 1] + data[i + 2])) / 3;
  }
  if (isOpaque) return null;
  return covered && light / covered > 0.65 * 255 ? "dimgray" : "white";
}
