// ---- runs are switched on and off, everywhere

const hide = () => document.querySelectorAll("[data-run]").forEach(one => { one.hidden = view.hidden.has(+one.dataset.run) })

find("legend").onchange = event => {
  view.hidden[event.target.checked ? "delete" : "add"](+event.target.value)
  hide()
  charts.forEach(one => one.draw())
}

// ---- the newest samples of each run at one moment, by the share of the run or by the step

const sheets = document.querySelectorAll(".beside figure")
let moments = []

const moment = (run, step) => find("scale").value === "step" ? step : +(step / data.runs[run].steps).toFixed(4)

function openScale() {
  moments = [...new Set(data.samples.flatMap((some, run) => some.map(([step]) => moment(run, step))))].sort((a, b) => a - b)
  find("moment").max = moments.length - 1
  turnTo(moments.length - 1)
}

function turnTo(index) {
  const now = moments[index], text = find("scale").value === "step" ? `step ${whole(now)}` : `${short(now * 100)} % of the run`
  find("moment").value = index
  find("moment").setAttribute("aria-valuetext", text)
  find("reached").textContent = text
  data.samples.forEach((some, run) => {
    if (!some.length) return
    const [step, address] = some.findLast(([step]) => moment(run, step) <= now) ?? some[0]
    sheets[run].querySelector("figcaption span").textContent = `step ${whole(step)}`
    Object.assign(sheets[run].querySelector("img"), {src: address, alt: `Samples of ${data.runs[run].label} at step ${step}`})
  })
}

function turn(by) {
  if (moments.length) turnTo(limited(+find("moment").value + by, 0, moments.length - 1))
}

if (find("moment")) {
  find("moment").oninput = event => turnTo(+event.target.value)
  find("scale").onchange = openScale
  openScale()
}

// ---- results of the same name

const labelOf = ([panel, , run]) => run === null ? panel : `${panel} · ${data.runs[run].label}`

function describe({name, panels, metrics}) {
  const of = run => metrics.filter(([one]) => one === run).map(([, metric, value]) => `${titled(metric)} ${short(value)}`).join(" · ")
  return {
    name,
    panels: panels.filter(([, , run]) => !view.hidden.has(run)).map(panel => [labelOf(panel), panel[1]]),
    values: data.runs.map(({label}, run) => [label, of(run)]).filter(([, text]) => text).map(([label, text]) => `${label}: ${text}`).join("\n"),
  }
}

function cell([panel, address, run], name, onclick) {
  const button = make("button", {onclick, title: name},
    make("img", {src: address, alt: `${labelOf([panel, address, run])} of ${name}`, loading: "lazy"}),
    make("span", {}, ...run === null ? [panel] : [swatch(run), `${panel} · ${data.runs[run].label}`]))
  if (run !== null) button.dataset.run = run
  return button
}

function row(pictures, index) {
  const {name, panels} = pictures[index]
  const rows = () => [...find("results").querySelectorAll("article")]
  const element = make("article", {}, make("h4", {textContent: name}), make("div", {className: "cells"}, ...panels.map(panel =>
    cell(panel, name, () => openViewer(pictures, index, describe, {
      closed: at => rows()[rows().indexOf(element) + at - index].querySelector("button").focus(),
    })))))
  return element
}

for (const {split, runs, count, pictures} of data.results) {
  pictures.sort((a, b) => natural(a.name, b.name))
  find("results").append(
    make("h3", {textContent: `${split}: ${pictures.length} of ${whole(count)} pictures that ${runs} runs have`}),
    ...pictures.map((_, i) => row(pictures, i)))
}
const outputs = data.results[0]?.pictures[0].panels.filter(([panel]) => panel === "output") ?? []
if (outputs.length > 1) [viewer.left, viewer.right] = outputs.map(labelOf)
