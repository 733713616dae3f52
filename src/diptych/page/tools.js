// The controls around a board, and the ways in which a picture is opened.

const element = (id) => document.getElementById(id);

/** Marks one of the buttons in a group as chosen. */
function choose(buttons, chosen) {
  for (const button of buttons) button.setAttribute("aria-pressed", button === chosen);
}

/** Gives the tools, colours and keys to a board. */
function equip(board) {
  const tools = [...document.querySelectorAll("[data-draw]")], inks = [...document.querySelectorAll("[data-code]")];
  const take = (button) => {
    choose(tools, button);
    board.tool = button.dataset.draw;
  };
  const dip = (button) => {
    choose(inks, button);
    board.ink = button.dataset.code;
  };
  const widen = (by) => {
    element("width").value = Number(element("width").value) + by;
    board.width = Number(element("width").value);
  };
  for (const button of tools) button.onclick = () => take(button);
  for (const button of inks) button.onclick = () => dip(button);
  if (inks.length) dip(inks[1] ?? inks[0]);
  element("width").oninput = () => widen(0);
  element("zoom").oninput = () => document.querySelector(".scroll").style.setProperty("--zoom", element("zoom").value);
  element("undo").onclick = () => board.undo();
  element("clear").onclick = () => board.clear();
  widen(0);

  addEventListener("keydown", (event) => {
    const isUndo = (event.ctrlKey || event.metaKey) && event.key === "z";
    if (isUndo) {
      event.preventDefault();
      board.undo();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("[type=number]")) return;
    const tool = tools.find((button) => button.getAttribute("aria-keyshortcuts") === event.key.toLowerCase());
    if (tool) take(tool);
    if (event.key === "[" || event.key === "]") widen(event.key === "[" ? -1 : 1);
    if (/^[1-9]$/.test(event.key) && inks[event.key - 1]) dip(inks[event.key - 1]);
  });
}

/** Calls `open(file)` for a picture that is chosen, dropped or pasted, and `openSeveral(files)`, unless it is null, for several. */
function acceptPictures(open, openSeveral) {
  const take = (files) => {
    const all = [...(files ?? [])];
    if (openSeveral && all.length > 1) return openSeveral(all);
    const first = all.find((file) => file.type.startsWith("image/")) ?? all[0];
    if (first) open(first);
  };
  element("file").multiple = Boolean(openSeveral);
  element("file").onchange = ({ target }) => {
    take([...target.files]);
    target.value = ""; // so that the same file can be chosen again
  };
  addEventListener("paste", (event) => take(event.clipboardData.files));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
}
