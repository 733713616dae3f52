// The page: what a visitor gives, through the network, onto the sheet of the result.

const about = JSON.parse(element("about").textContent);
const tool = about.tool;
let backEnd = null, board = null;
let picture = null; // the open one: { image, alpha, name, file }; of a board without one null
let result = null; // { image }, and the `file` of a back end that makes one

function say(text, isWrong = false) {
  element("status").textContent = text;
  element("status").classList.toggle("wrong", isWrong);
}

// ---- one picture at a time through the network: while one is on its way, only the newest wish is kept

let isWanted = false, isBusy = false;

async function refresh() {
  isWanted = true;
  if (isBusy || !backEnd) return;
  isBusy = true;
  while (isWanted) {
    isWanted = false;
    const start = performance.now();
    element("loading").classList.add("busy");
    say("Working …");
    try {
      const made = await (tool === "classes" ? drawn() : translated());
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const shrunk = made?.isShrunk ? `; the network saw ${made.seen.join(" × ")} pixels` : "";
      const notes = made?.notes ? ` ${made.notes}.` : "";
      say(made ? `Ready. The last one took ${seconds} s${shrunk}.${notes}` : "Ready.");
    } catch (error) {
      say(`This did not work: ${error.message}`, true);
    }
    element("loading").classList.remove("busy");
  }
  isBusy = false;
}

async function translated() {
  const given = tool === "board" ? { image: levelsOf(board.canvas), alpha: null } : picture;
  if (!given) return null;
  const mask = tool === "mask" ? board.mask : null;
  if (mask && !mask.includes(255)) {
    present(given, false);
    return null;
  }
  const made = await backEnd.translate(given, mask, say);
  if (given !== picture && tool !== "board") return null; // another one was opened meanwhile
  present(made);
  return made;
}

async function drawn() {
  const seed = Math.max(0, Math.floor(Number(element("seed").value))) || 0;
  const chosen = document.querySelector("[data-class][aria-pressed=true]");
  const made = await backEnd.sample(chosen ? Number(chosen.dataset.class) : null, seed, say);
  picture = { name: `${chosen?.textContent.trim() ?? "picture"}-${seed}` };
  present(made);
  return made;
}

function present(made, isResult = true) {
  show(element("result"), made.image);
  result = isResult ? made : null;
  element("download").disabled = !isResult;
}

// ---- what a visitor gives

async function open(file) {
  try {
    const read = await readPicture(file).catch(async (error) => {
      if (!backEnd?.preview) throw error;
      return readPicture(await backEnd.preview(file));
    });
    picture = { ...read, file, name: (file.name ?? "example").replace(/\.[^.]*$/, "") };
  } catch (error) {
    return say(error.message, true);
  }
  const { image } = picture;
  if (tool === "board") return board.reset(image.width, image.height, image);
  show(element("picture"), image);
  if (tool === "mask") return board.reset(image.width, image.height);
  element("sheet").classList.add("full");
  element("empty").hidden = true;
  present(picture, false);
  refresh();
}

function setUp() {
  if (tool === "classes") {
    const buttons = [...document.querySelectorAll("[data-class]")];
    for (const button of buttons) button.onclick = () => (choose(buttons, button), refresh());
    element("seed").onchange = refresh;
    element("another").onclick = () => {
      element("seed").value = (Math.floor(Number(element("seed").value)) || 0) + 1;
      refresh();
    };
  } else {
    acceptPictures(open, about.server && tool !== "mask" ? translateSeveral : null);
  }
  if (tool === "board" || tool === "mask") {
    board = new Board(element("board"), tool === "board" ? about.palette[0].code : null, refresh);
    if (tool === "mask") board.ink = "#00d5ff";
    equip(board);
    if (tool === "board") board.reset(about.width, about.height);
  }
  if (tool === "photo") {
    const divider = element("divider");
    divider.oninput = () => element("sheet").style.setProperty("--at", `${divider.value}%`);
  }
  const examples = [...document.querySelectorAll(".example")];
  examples.forEach((button, i) => {
    button.onclick = () => open(new Blob([bytesOf(about.examples[i])], { type: "image/png" }));
  });
  examples[0]?.click();
  element("download").onclick = download;
}

async function download() {
  const name = picture?.name ?? "drawing";
  if (result.file) return save(result.file, `${name}-result${suffixOf(result.file)}`);
  const canvas = newCanvas(result.image.width, result.image.height);
  contextOf(canvas).putImageData(result.image, 0, 0);
  canvas.toBlob((blob) => save(blob, `${name}-result.png`));
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function begin() {
  setUp();
  try {
    backEnd = await openBackEnd(about, (share) => {
      element("progress").value = share;
      say(share < 1 ? `Loading the network … ${Math.floor(100 * share)} %` : "Starting the network …");
    });
  } catch (error) {
    element("progress").hidden = true;
    return say(`The network could not be started: ${error.message}`, true);
  }
  element("progress").hidden = true;
  document.body.dataset.ready = "";
  say("Ready.");
  if (tool === "classes" || board || picture) refresh();
}

begin();
