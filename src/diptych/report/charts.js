// ---- curves: each name in its own chart; what is seen, the mark and the smoothing are the same for all of them

const WIDTH = 360, HEIGHT = 190, LEFT = 46, TOP = 8, BOTTOM = 20, BUCKETS = 300
const FLOOR = HEIGHT - BOTTOM
const last = Math.max(1, ...data.curves.steps.map(steps => steps.at(-1)))
const view = {from: 0, to: last, smoothing: 0, logarithmic: false, step: undefined, hidden: new Set()}
const across = step => LEFT + (WIDTH - LEFT) * (step - view.from) / (view.to - view.from)
const zoomed = () => view.from > 0 || view.to < last

// An exponential moving average without the pull of its beginning, as TensorBoard draws it.
function smoothed(values, weight) {
  let sum = 0, weights = 0
  return values.map(value => {
    sum = weight * sum + (1 - weight) * value
    weights = weight * weights + 1 - weight
    return sum / weights
  })
}

// Some 300 points of what is seen, and one more at each side of it: step, mean, smallest, largest, smoothed mean.
function points(curve) {
  const {steps, means, lows = means, highs = means, smooth} = curve
  const first = Math.max(0, steps.findLastIndex(step => step < view.from))
  const after = steps.findIndex(step => step > view.to)
  const length = (after < 0 ? steps.length : after + 1) - first, count = Math.min(BUCKETS, length)
  const mean = values => values.reduce((a, b) => a + b) / values.length
  return Array.from({length: count}, (_, i) => {
    const range = [first + Math.floor(i * length / count), first + Math.floor((i + 1) * length / count)]
    return [steps[range[1] - 1], mean(means.slice(...range)), Math.min(...lows.slice(...range)), Math.max(...highs.slice(...range)),
      mean(smooth.slice(...range))]
  })
}

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough))
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough * 0.999)
  const first = Math.ceil(low / step - 1e-6), end = Math.floor(high / step + 1e-6)
  return Array.from({length: end - first + 1}, (_, i) => (first + i) * step)
}

function logarithmicTicks(low, high) {
  const powers = Array.from({length: 40}, (_, i) => i - 20)
  const within = factors => powers.flatMap(power => factors.map(factor => factor * 10 ** power)).filter(value => value >= low && value <= high)
  const found = [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]].map(within).find(some => some.length > 2) ?? ticks(low, high, 4)
  const every = Math.ceil(found.length / 6)
  return found.filter((_, i) => i % every === 0)
}

// From values to places on paper, with the room that curves need above and below.
function scale(low, high, logarithmic) {
  const place = logarithmic ? Math.log10 : value => value
  let [bottom, top] = [place(low), place(high)]
  const room = (top - bottom) * 0.05 || (logarithmic ? 0.2 : Math.abs(high) * 0.5 || 1)
  bottom = logarithmic || low < 0 ? bottom - room : Math.max(0, bottom - room)
  top += room
  const up = value => TOP + (FLOOR - TOP) * (top - place(value)) / (top - bottom)
  const marks = logarithmic ? logarithmicTicks(10 ** bottom, 10 ** top) : ticks(bottom, top, 5)
  return {up, marks: marks.filter((value, i) => i === 0 || up(marks[i - 1]) - up(value) > 13)}
}

function axes({up, marks}) {
  const rows = marks.map(value => `<path class="grid" d="M${LEFT} ${up(value)}H${WIDTH}"/>
    <text x="${LEFT - 7}" y="${up(value) + 4}" text-anchor="end">${short(value)}</text>`)
  const columns = ticks(view.from, view.to, 4).filter(Number.isInteger).map(step =>
    `<text x="${across(step)}" y="${HEIGHT - 3}" text-anchor="${across(step) > WIDTH - 20 ? "end" : "middle"}">${compact(step)}</text>`)
  const findings = (data.marks ?? []).map(([from, to]) => [across(from) - 1.5, across(to) + 1.5])
    .filter(([from, to]) => to > LEFT && from < WIDTH)
    .map(([from, to]) => `<path class="finding" d="M${Math.max(LEFT, from)} ${FLOOR}H${Math.min(WIDTH, to)}"/>`)
  return [...rows, ...columns, ...findings].join("")
}

function lines({run, best}, some, {up}, smooth) {
  const path = (column, from = some) => from.map(point => `${across(point[0]).toFixed(1)} ${up(point[column]).toFixed(1)}`).join("L")
  const style = `style="--of: var(--run-${run % 8})"${run > 7 ? ' stroke-dasharray="5 3"' : ""}`
  const at = some.find(([step]) => step === best)
  return `<g ${style}><path class="band" d="M${path(3)}L${path(2, some.toReversed())}Z"/>
    ${smooth ? `<path class="raw" d="M${path(1)}"/>` : ""}
    <path class="line" stroke-linecap="round" d="M${path(smooth ? 4 : 1)}h0"/>
    ${some.length === 1 ? `<circle class="single" cx="${across(some[0][0])}" cy="${up(some[0][1])}" r="4"/>` : ""}
    ${at ? `<path class="best" d="M${across(best)} ${TOP}V${FLOOR}"/><circle class="best" cx="${across(best)}" cy="${up(at[1])}" r="4"/>` : ""}</g>`
}

function chart({name, better, smooth, curves}, validation) {
  const value = make("span"), figure = make("figure", {innerHTML: `<figcaption></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" tabindex="0"></svg>`})
  const direction = {1: "↑ higher is better", "-1": "↓ lower is better"}[better]
  figure.firstChild.append(make("span", {className: "name"}, make("b", {textContent: titled(name), title: name}), ...direction ? [make("small", {textContent: direction})] : []), value)
  const svg = figure.querySelector("svg")
  const all = curves.map(curve => ({...curve, steps: data.curves.steps[curve.steps], smooth: curve.means}))
  const positive = all.every(({means, lows = means}) => lows.every(low => low > 0))
  const ends = all.map(({run, steps, means}) => `${all.length > 1 ? `${data.runs[run].label}: ` : ""}${short(means[0])} at step ${steps[0]}, ${
    short(means.at(-1))} at step ${steps.at(-1)}`)
  svg.setAttribute("aria-label", `${name}: ${ends.join("; ")}. Arrow keys move the mark, plus and minus zoom.`)
  let drawn = []

  const draw = () => {
    drawn = all.filter(({run}) => !view.hidden.has(run)).map(curve => ({curve, some: points(curve)}))
    const seen = drawn.flatMap(({some}) => some.filter(([step]) => step >= view.from && step <= view.to))
    const [low, high] = [Math.min(...seen.map(point => point[2])), Math.max(...seen.map(point => point[3]))]
    const on = scale(...(seen.length ? [low, high] : [1, 2]), view.logarithmic && positive)
    const best = run => validation ? data.runs[run].best : undefined
    svg.innerHTML = `${axes(on)}<svg viewBox="${LEFT} 0 ${WIDTH - LEFT} ${HEIGHT}" x="${LEFT}" y="0" width="${WIDTH - LEFT}" height="${HEIGHT}"
      overflow="${zoomed() ? "hidden" : "visible"}">${drawn.map(({curve, some}) =>
        lines({run: curve.run, best: best(curve.run)}, some, on, smooth && view.smoothing > 0)).join("")}</svg>
      <rect class="selection" y="${TOP}" height="${FLOOR - TOP}"/><path class="mark" d="M0 ${TOP}V${FLOOR}"/>`
    point()
  }

  // Without a step the newest value stands there.
  const point = () => {
    const near = some => view.step === undefined ? some.at(-1) : some.reduce((a, b) => Math.abs(b[0] - view.step) < Math.abs(a[0] - view.step) ? b : a)
    const told = drawn.map(({curve, some}) => {
      const [step, mean, low, high, average] = near(some)
      const range = low < high ? ` (${short(low)} to ${short(high)})` : ""
      return [curve.run, step, `${short(mean)}${range} at step ${whole(step)}${smooth && view.smoothing > 0 ? `, smoothed ${short(average)}` : ""}`]
    })
    value.replaceChildren(...data.runs.length > 1
      ? told.map(([run, , text]) => make("span", {title: data.runs[run].label}, swatch(run), text)) : told.map(([, , text]) => text))
    const mark = svg.querySelector(".mark"), at = told[0]?.[1]
    const shown = view.step !== undefined && at >= view.from && at <= view.to
    mark.style.visibility = shown ? "visible" : "hidden"
    if (shown) mark.setAttribute("transform", `translate(${across(at)})`)
  }

  // By keyboard the mark goes from point to point, and what is seen goes with it.
  const walk = by => {
    const steps = drawn[0]?.curve.steps
    if (!steps) return
    const stride = Math.ceil(steps.filter(step => step >= view.from && step <= view.to).length / BUCKETS) || 1
    const now = view.step === undefined ? steps.findLastIndex(step => step <= view.to) + 1 : steps.findLastIndex(step => step <= view.step)
    const step = steps[limited(now + by * stride, 0, steps.length - 1)], half = (view.to - view.from) / 2
    if (step < view.from || step > view.to) look(step - half, step + half)
    mark(step)
  }
  const smoothen = () => all.forEach(curve => { curve.smooth = smooth && view.smoothing ? smoothed(curve.means, view.smoothing) : curve.means })

  listen(svg, value, walk)
  return {figure, draw, point, smoothen, positive}
}

function mark(step) {
  view.step = step
  charts.forEach(one => one.point())
}

// All steps without arguments; what is asked for is moved into the run.
function look(from = 0, to = last) {
  const width = limited(to - from, Math.min(last, 4), last), begin = limited(from, 0, last - width)
  Object.assign(view, {from: begin, to: begin + width})
  find("all").disabled = find("farther").disabled = !zoomed()
  find("seen").textContent = zoomed() ? `steps ${whole(Math.round(view.from))} to ${whole(Math.round(view.to))}` : ""
  charts.forEach(one => one.draw())
}

function zoom(factor) {
  const width = (view.to - view.from) * factor
  const middle = view.step >= view.from && view.step <= view.to ? view.step : (view.from + view.to) / 2
  look(middle - width / 2, middle + width / 2)
}

function listen(svg, value, walk) {
  let start
  const stepAt = event => {
    const box = svg.getBoundingClientRect()
    return limited(view.from + ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT) * (view.to - view.from), view.from, view.to)
  }
  const select = (from, to) => document.querySelectorAll(".selection").forEach(one => {
    one.setAttribute("x", Math.min(across(from), across(to)))
    one.setAttribute("width", Math.abs(across(to) - across(from)))
  })
  const dragged = event => start && Math.abs(event.clientX - start.x) > 5
  svg.onpointerdown = event => {
    if (event.button) return
    start = {x: event.clientX, step: stepAt(event)}
    svg.setPointerCapture(event.pointerId)
  }
  svg.onpointermove = event => {
    mark(stepAt(event))
    if (dragged(event)) select(start.step, stepAt(event))
  }
  svg.onpointerup = event => {
    const range = dragged(event) && [start.step, stepAt(event)].sort((a, b) => a - b)
    start = undefined
    select(view.from, view.from)
    if (range) look(...range)
  }
  svg.onpointercancel = () => {
    start = undefined
    select(view.from, view.from)
  }
  svg.onpointerleave = () => mark()
  svg.ondblclick = () => look()
  svg.onfocus = () => { value.ariaLive = "polite" }
  svg.onblur = () => { value.ariaLive = "off"; mark() }
  svg.onkeydown = event => {
    const far = event.shiftKey ? 10 : 1
    const act = {
      ArrowLeft: () => walk(-far), ArrowRight: () => walk(far),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "_": () => zoom(2),
    }[event.key]
    if (!act || event.altKey || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    act()
  }
}

const groups = data.curves.groups.map(({title, charts}) => ({title, charts: charts.map(one => chart(one, title === "Validation"))}))
const charts = groups.flatMap(group => group.charts)
if (charts.length) {
  find("charts").append(...groups.flatMap(group => [
    make("h3", {textContent: group.title}), make("div", {className: "charts"}, ...group.charts.map(one => one.figure)),
  ]))
  find("smoothing").oninput = event => {
    view.smoothing = +event.target.value
    find("smoothed").textContent = view.smoothing ? view.smoothing.toFixed(2) : "none"
    charts.forEach(one => { one.smoothen(); one.draw() })
  }
  find("logarithmic").disabled = !charts.some(one => one.positive)
  find("logarithmic").onchange = event => {
    view.logarithmic = event.target.checked
    charts.forEach(one => one.draw())
  }
  find("closer").onclick = () => zoom(0.5)
  find("farther").onclick = () => zoom(2)
  find("all").onclick = () => look()
  look()
}
