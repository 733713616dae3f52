// ---- elements, and numbers as people write them

const find = id => document.getElementById(id)
const make = (tag, values, ...children) => {
  const element = Object.assign(document.createElement(tag), values)
  element.append(...children)
  return element
}
const short = value => {
  if (value === null) return "–"
  const rounded = +value.toPrecision(4)
  return rounded && Math.abs(rounded) < 1e-4 ? rounded.toExponential() : String(rounded)
}
const whole = value => value.toLocaleString("en")
const compact = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 2}).format  // 1.5M: a long number does not fit under a chart
const natural = new Intl.Collator(undefined, {numeric: true}).compare
const limited = (value, low, high) => Math.min(Math.max(value, low), high)

// "kid/inception/1000" reads better by its title; how it was measured is told where the mouse points.
const titled = name => data.titles[name] ?? name

const swatch = run => {
  const element = make("i", {className: "swatch", ariaHidden: "true"})
  element.style.setProperty("--of", `var(--run-${run % 8})`)
  return element
}
