// The network on the server: files go there and come back as they are, with their bits, alpha and metadata.

const SUFFIXES = { "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/tiff": ".tif", "image/bmp": ".bmp" };
const MOST_TRIES = 20;

async function openBackEnd(about) {
  return {
    /** `say` is told while the server is busy. */
    async translate({ image, file }, mask, say) {
      const body = new FormData();
      body.append("image", file ?? (await asFile(image)), "picture");
      if (mask) body.append("mask", await asFile(maskImage(mask, image)), "mask.png");
      return made(await ask(about, "translate", body, say), () => ask(about, "translate", body, say, "image/png"));
    },
    async sample(label, seed, say) {
      const body = JSON.stringify(label === null ? { seed } : { seed, label: about.classes[label] });
      return made(await ask(about, "sample", body, say));
    },
    /** A file that this browser cannot open, as one that it can. */
    preview: async (file) => (await ask(about, "preview", file, () => {})).blob(),
  };
}

/** The answer of the server; while it is busy, asks again when it says so. */
async function ask(about, what, body, say, accept = "*/*") {
  const address = `${about.server}/${what}${about.direction ? `?direction=${about.direction}` : ""}`;
  for (let tries = 1; ; tries++) {
    const response = await fetch(address, { method: "POST", body, headers: { Accept: accept } }).catch(() => {
      throw new Error("the server does not answer");
    });
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    if (response.status !== 503 || tries === MOST_TRIES) throw new Error(problem.detail ?? `the server answers ${response.status}`);
    say("The server is busy; waiting …");
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
  }
}

/** What came back: the file, and what of it can be shown. `again` asks for a form that this browser shows. */
async function made(response, again) {
  const file = await response.blob(), notes = response.headers.get("X-Diptych-Note") ?? "";
  const { image } = await readPicture(file, false).catch(async (error) => {
    if (!again) throw error;
    return readPicture(await (await again()).blob(), false);
  });
  return { image, file, notes };
}

function suffixOf(file) {
  return SUFFIXES[file.type] ?? "";
}

function maskImage(mask, { width, height }) {
  const image = new ImageData(width, height);
  mask.forEach((level, i) => image.data.set([level, level, level, 255], 4 * i));
  return image;
}

function asFile(image) {
  const canvas = newCanvas(image.width, image.height);
  contextOf(canvas).putImageData(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
