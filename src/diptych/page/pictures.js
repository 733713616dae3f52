// Pictures as the network sees them: levels from files and canvases, and back.

/**
 * A file as { image, alpha }: its levels, where it is transparent on white, and how opaque it is, or null.
 * It is upright, and no colour management changes its levels. Results may stay transparent.
 */
async function readPicture(file, onWhite = true) {
  const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => {
    throw new Error(`${file.name ?? "this"}: is no picture that this browser can open`);
  });
  const context = contextOf(newCanvas(bitmap.width, bitmap.height));
  context.drawImage(bitmap, 0, 0);
  const opacity = levelsOf(context.canvas).data.filter((_, i) => i % 4 === 3);
  if (onWhite) {
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, bitmap.width, bitmap.height);
  }
  bitmap.close();
  return { image: levelsOf(context.canvas), alpha: opacity.some((level) => level < 255) ? opacity : null };
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

function contextOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}

function levelsOf(canvas) {
  return contextOf(canvas).getImageData(0, 0, canvas.width, canvas.height);
}

/** Shows levels in a canvas, at their size. */
function show(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.closest("figure")?.style.setProperty("--aspect", image.width / image.height);
  contextOf(canvas).putImageData(image, 0, 0);
}

/** Levels at another size. */
function resized(image, width, height) {
  const from = newCanvas(image.width, image.height), to = contextOf(newCanvas(width, height));
  contextOf(from).putImageData(image, 0, 0);
  to.imageSmoothingQuality = "high";
  to.drawImage(from, 0, 0, width, height);
  return levelsOf(to.canvas);
}

/** The picture as a tensor [1, height, width, channels]; one channel is ITU-R 601 luma, in the numbers of Pillow. */
function toTensor({ data, width, height }, channels) {
  const levels = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (channels === 1) levels[i] = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16;
    else levels.set([r, g, b], 3 * i);
  }
  return { type: "uint8", data: levels, dims: [1, height, width, channels] };
}

/** A result of the network as a picture. */
function fromTensor({ data, dims: [, height, width, channels] }) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = data[channels * i + (channels === 1 ? 0 : c)];
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** The same picture, opaque where `alpha` says so. */
function withAlpha(image, alpha) {
  alpha?.forEach((level, i) => (image.data[4 * i + 3] = level));
  return image;
}

/** The bytes of a text in base64. */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
