// The network in the browser. A picture that is too large, or has a hole that is too large, is shrunk for it.

/** Opens the network; `progress` is told the share of it that is there. */
async function openBackEnd(about, progress) {
  const runtime = await openRuntime(about, trialOf(about), progress);
  return {
    translate: (given, mask) => translate(runtime, about, given, mask),
    sample: (label, seed) => sample(runtime, about, label, seed),
  };
}

/** The picture of a seed, and of the class with this number; null without classes. */
async function sample(runtime, about, label, seed) {
  return { image: fromTensor(await runtime.run(sampleInputs(about, label, seed))) };
}

function sampleInputs(about, label, seed) {
  const inputs = { noise: { type: "float32", data: noiseOf(seed, about.noise), dims: [1, about.noise] } };
  if (label !== null) inputs.label = { type: "int64", data: BigInt64Array.of(BigInt(label)), dims: [1] };
  return inputs;
}

/** What two ways to compute the network are compared on: all levels in disorder, at the size of the training, and a hole. */
function trialOf(about) {
  const { tool, width, height, channels } = about;
  if (tool === "classes") return sampleInputs(about, about.classes.length ? 0 : null, 0);
  const image = new ImageData(width, height);
  for (let i = 0; i < image.data.length; i++) image.data[i] = Math.imul(i, 0x9e3779b1) >>> 24; // Knuth's hash
  const inputs = { picture: toTensor(image, channels) };
  if (tool === "mask") {
    const side = Math.min(about.largest_hole, width >> 1, height >> 1);
    const data = Uint8Array.from({ length: width * height }, (_, i) => (i % width < side && i < side * width ? 255 : 0));
    inputs.mask = { type: "uint8", data, dims: [1, height, width, 1] };
  }
  return inputs;
}

/** The result at the size of the picture, and the size that the network saw. `mask` has 255 in the holes, or is null. */
async function translate(runtime, about, { image, alpha }, mask = null) {
  const { width, height } = image;
  const holes = mask ? about.largest_hole / thickness(mask, width) : 1;
  const share = Math.min(1, Math.sqrt(about.most_pixels / (width * height)), holes);
  const [seenWidth, seenHeight] = [width, height].map((side) => Math.max(1, Math.round(side * share)));
  const isWhole = seenWidth === width && seenHeight === height;
  const inputs = { picture: toTensor(isWhole ? image : resized(image, seenWidth, seenHeight), about.channels) };
  if (mask) {
    const data = isWhole ? mask : shrunkMask(mask, width, height, seenWidth, seenHeight);
    inputs.mask = { type: "uint8", data, dims: [1, seenHeight, seenWidth, 1] };
  }
  let result = fromTensor(await runtime.run(inputs));
  if (!isWhole) result = resized(result, width, height);
  if (mask) keepOutside(result, image, mask, about.channels);
  return { image: withAlpha(result, alpha), seen: [seenWidth, seenHeight], isShrunk: !isWhole };
}

/** Outside of the holes the picture itself. */
function keepOutside(result, image, mask, channels) {
  if (channels === 1) image = fromTensor(toTensor(image, 1));
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) result.data.set(image.data.subarray(4 * i, 4 * i + 4), 4 * i);
  }
}

/** The side of the largest square that fits into a hole. */
function thickness(mask, width) {
  const sides = new Uint16Array(mask.length);
  let largest = 0;
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const isInner = i >= width && i % width;
    sides[i] = 1 + (isInner ? Math.min(sides[i - 1], sides[i - width], sides[i - width - 1]) : 0);
    largest = Math.max(largest, sides[i]);
  }
  return largest;
}

/** A pixel is in a hole where any of those that it stands for is. */
function shrunkMask(mask, width, height, seenWidth, seenHeight) {
  const shrunk = new Uint8Array(seenWidth * seenHeight);
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const x = i % width, y = Math.floor(i / width);
    shrunk[Math.floor((y * seenHeight) / height) * seenWidth + Math.floor((x * seenWidth) / width)] = 255;
  }
  return shrunk;
}
