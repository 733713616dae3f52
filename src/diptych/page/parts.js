// The large parts of the page, the network and what runs it: in the page itself, in base64, or in files beside it.

const STRETCH = 2 ** 20; // characters of base64 that are decoded before the page may draw again

/** The bytes of a part. `progress` is told how many more of the packed bytes are there. */
async function loadPart(name, progress) {
  const element = document.getElementById(`part-${name}`);
  const packed = element ? await decoded(element, progress) : await fetched(name, progress);
  const unpacked = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
}

async function decoded(element, progress) {
  const text = element.textContent, pieces = [];
  for (let start = 0; start < text.length; start += STRETCH) {
    pieces.push(bytesOf(text.slice(start, start + STRETCH)));
    progress(pieces.at(-1).length);
    await new Promise((resolve) => setTimeout(resolve));
  }
  element.remove();
  return new Blob(pieces);
}

async function fetched(name, progress) {
  if (location.protocol === "file:") {
    throw new Error("this page has files beside it, which a browser reads from a web host only: run `python -m http.server` in its folder");
  }
  const response = await fetch(`${name}.gz`);
  if (!response.ok) throw new Error(`${name}.gz: the web host answers ${response.status}`);
  const pieces = [];
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(pieces);
    pieces.push(value);
    progress(value.length);
  }
}
