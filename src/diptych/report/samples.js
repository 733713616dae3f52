// ---- samples over time

let playing

function turnTo(index) {
  const [step, address] = data.samples[index]
  find("step").value = index
  find("step").setAttribute("aria-valuetext", `step ${step}`)
  find("reached").textContent = whole(step)
  Object.assign(find("sheet"), {src: address, alt: `Samples at step ${step}`})
}

function turn(by) {
  if (!data.samples.length) return
  pause()
  turnTo(limited(+find("step").value + by, 0, data.samples.length - 1))
}

function pause() {
  clearTimeout(playing)
  playing = undefined
  Object.assign(find("play"), {textContent: "▶", ariaLabel: "Play"})
}

// The next sheet comes when it is loaded, and not before somebody can have seen this one.
async function playOn(index) {
  const next = Object.assign(new Image(), {src: data.samples[index][1]})
  const mine = playing = setTimeout(async () => {
    await next.decode().catch(() => {})
    if (playing !== mine) return
    turnTo(index)
    if (index < data.samples.length - 1) playOn(index + 1)
    else pause()
  }, 500)
}

function play() {
  if (playing) return pause()
  const at = +find("step").value
  Object.assign(find("play"), {textContent: "❚❚", ariaLabel: "Pause"})
  if (at === data.samples.length - 1) turnTo(0)
  playOn(at === data.samples.length - 1 ? 1 : at + 1)
}

if (data.samples.length) {
  find("step").oninput = event => {
    pause()
    turnTo(+event.target.value)
  }
  find("play").onclick = play
}
