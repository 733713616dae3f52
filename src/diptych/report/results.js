// ---- results: only one page of them is ever in the document

const PER_PAGE = 24, CASES = 5
let split, shown = [], page = 0

function openSplit() {
  split = data.results[find("split").value]
  find("grid").style.setProperty("--card", `${Math.max(9, 6 * split.panels.length)}rem`)
  const orders = split.metrics.flatMap((name, i) => [[i + 2, 1, `${titled(name)}, lowest first`], [i + 2, -1, `${titled(name)}, highest first`]])
  find("order").replaceChildren(...[[0, 1, "name"], ...orders].map(([column, sign, text]) =>
    make("option", {value: `${column} ${sign}`, textContent: text})))
  find("by").replaceChildren(...split.metrics.map((name, i) => make("option", {value: i, textContent: titled(name), title: name})))
  find("cases").hidden = !split.metrics.length
  if (split.metrics.length) drawCases()
  choose()
}

function choose() {
  const [column, sign] = find("order").value.split(" ").map(Number), part = find("part").value.toLowerCase()
  shown = split.pictures.filter(picture => picture[0].toLowerCase().includes(part))
  shown.sort(column ? byNumber(column, sign) : (a, b) => natural(a[0], b[0]))
  find("count").textContent = shown.length === 1 ? "1 picture" : `${whole(shown.length)} pictures`
  draw(0)
}

// Those that have no such number come last.
const byNumber = (column, sign) => (a, b) => (a[column] === null) - (b[column] === null) || sign * (a[column] - b[column])

function draw(wanted) {
  const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE))
  page = limited(wanted, 0, pages - 1)
  find("grid").replaceChildren(...shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map((picture, i) =>
    card(picture, split.metrics, () => openAt(page * PER_PAGE + i))))
  Object.assign(find("page"), {value: page + 1, max: pages})
  find("pages").textContent = `of ${whole(pages)}`
  find("pager").hidden = pages === 1
  find("back").disabled = page === 0
  find("next").disabled = page === pages - 1
}

function card([name, address, ...values], metrics, onclick) {
  const brief = values.map((value, i) => [split.metrics[i], value]).filter(([metric]) => metrics.includes(metric))
    .map(([metric, value]) => `${titled(metric)} ${short(value)}`).join(" · ")
  return make("button", {title: name, onclick},
    make("img", {
      loading: "lazy", style: `aspect-ratio: ${split.panels.length}`, alt: split.panels.join(", "),
      src: `${split.address}/thumbnails/${address}.jpg`,
    }),
    ...split.panels.length > 1 ? [make("div", {className: "labels"}, ...split.panels.map(panel => make("i", {textContent: panel})))] : [],
    make("span", {textContent: name}), make("span", {textContent: brief}))
}

// The worst and the best, at most half of all each; where neither is better, the lowest and the highest.
function drawCases() {
  const at = +find("by").value, better = split.better[at]
  const sorted = split.pictures.filter(picture => picture[at + 2] !== null).sort(byNumber(at + 2, better || 1))
  const count = limited(Math.floor(sorted.length / 2), Math.min(1, sorted.length), CASES)
  const cases = [...sorted.slice(0, count), ...sorted.slice(sorted.length - count).reverse()]
  find("of-worst").textContent = better ? "Worst" : "Lowest"
  find("of-best").textContent = better ? "Best" : "Highest"
  const cards = cases.map((picture, i) => card(picture, [split.metrics[at]], () =>
    openViewer(cases, i, describe, {closed: end => cards[end].focus()})))
  find("worst").replaceChildren(...cards.slice(0, count))
  find("best").replaceChildren(...cards.slice(count))
}

function leaf(wanted) {
  draw(wanted)
  find("grid").scrollIntoView()
}

function describe([name, address, ...values]) {
  return {
    name,
    panels: split.panels.map(panel => [panel, `${split.address}/${encodeURIComponent(panel)}/${address}.png`]),
    values: values.map((value, i) => `${titled(split.metrics[i])} ${short(value)}`).join(" · "),
  }
}

function openAt(index) {
  openViewer(shown, index, describe, {
    turned: at => Math.floor(at / PER_PAGE) === page || draw(Math.floor(at / PER_PAGE)),
    closed: at => find("grid").children[at % PER_PAGE].focus(),
  })
}

if (data.results.length) {
  find("split").onchange = openSplit
  find("by").onchange = drawCases
  find("order").onchange = find("part").oninput = choose
  find("page").onchange = event => leaf(event.target.value - 1)
  find("back").onclick = () => leaf(page - 1)
  find("next").onclick = () => leaf(page + 1)
  openSplit()
}
