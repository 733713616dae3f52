// Before anything is painted. Where a browser gives a page from disk no storage, the choice lasts as long as the page.
const colours = {
  kept() {
    try { return localStorage.getItem("diptych-colours") ?? "" } catch { return "" }
  },
  choose(which) {
    document.documentElement.dataset.colours = which
    try { localStorage.setItem("diptych-colours", which) } catch { /* no storage */ }
  },
}
document.documentElement.dataset.colours = colours.kept()
