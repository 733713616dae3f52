// Several pictures, one after the other, as a zip at the end.

let isStopped = false, several = [];

async function translateSeveral(files) {
  const list = element("list"), progress = element("several-progress"), taken = new Set();
  element("several").hidden = false;
  list.replaceChildren();
  [isStopped, several] = [false, []];
  Object.assign(progress, { max: files.length, value: 0 });
  element("stop").disabled = false;
  element("zip").disabled = true;
  element("stop").onclick = () => (isStopped = true);
  element("zip").onclick = async () => save(await zipOf(several), "pictures.zip");
  for (const file of files) {
    if (isStopped) break;
    const line = document.createElement("li");
    line.textContent = `${file.name} …`;
    list.append(line);
    try {
      const response = await ask(about, "translate", file, (text) => (line.textContent = `${file.name}: ${text}`));
      const blob = await response.blob();
      several.push({ name: freeName(file.name, suffixOf(blob), taken), blob });
      line.textContent = `${file.name}: done`;
    } catch (error) {
      line.textContent = `${file.name}: ${error.message}`;
      line.classList.add("wrong");
    }
    progress.value++;
  }
  element("stop").disabled = true;
  element("zip").disabled = !several.length;
  const failed = list.querySelectorAll(".wrong").length;
  element("several-note").textContent = `${several.length} of ${files.length} pictures${failed ? `, ${failed} could not be translated` : ""}`;
}

/** The name of a result, with a number where it is taken. */
function freeName(name, suffix, taken) {
  const stem = name.replace(/\.[^.]*$/, "");
  let found = stem + suffix;
  for (let i = 2; taken.has(found.toLowerCase()); i++) found = `${stem}-${i}${suffix}`;
  taken.add(found.toLowerCase());
  return found;
}
