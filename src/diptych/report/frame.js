// ---- keys: of the viewer while it is open, else of the page; those of a chart and of the divider are theirs

const ofViewer = {
  ArrowLeft: () => show(viewer.at - 1), ArrowRight: () => show(viewer.at + 1), d: () => viewer.panels.length > 1 && divideOrNot(),
  0: () => scaleTo(0), 1: () => scaleTo(1), 2: () => scaleTo(2), 4: () => scaleTo(4),
}
const ofPage = {
  ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), p: () => find("play")?.click(), "?": () => find("keys").showModal(), Escape: () => charts.length && look(),
}

addEventListener("keydown", event => {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return
  if (event.target.closest("input:not([type=checkbox]), select") || find("keys").open) return
  const arrow = event.key.startsWith("Arrow")
  if (arrow && event.target.closest(".scroll, .zoomed .pan:focus")) return
  const act = (find("viewer").open ? ofViewer : ofPage)[arrow || event.key === "Escape" ? event.key : event.key.toLowerCase()]
  if (act) act()
})

// ---- what is around the page

find("colours").value = colours.kept()
find("colours").onchange = event => colours.choose(event.target.value)

find("help").onclick = () => find("keys").showModal()
find("enough").onclick = () => find("keys").close()
find("keys").onclick = event => event.target === find("keys") && find("keys").close()

// On paper there is nothing to open, and pictures that were not yet looked at are wanted too.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach(one => { one.open = true })
  document.querySelectorAll("img[loading]").forEach(one => { one.loading = "eager" })
})
