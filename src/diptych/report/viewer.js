// ---- the viewer: one picture in all its panels, side by side or one over another with a divider; fitted, or zoomed

const viewer = {pictures: [], at: 0, panels: [], divided: false, scale: 0, left: "input", right: "output", share: 50}

// `describe` gives a picture's name, panels (label and address) and numbers; `closed` is told where the walk ended.
function openViewer(pictures, at, describe, {turned = () => {}, closed}) {
  Object.assign(viewer, {pictures, describe, turned, closed})
  show(at)
  if (!find("viewer").open) find("viewer").showModal()
}

function show(at) {
  if (!viewer.pictures[at]) return
  const {name, panels, values} = viewer.describe(viewer.pictures[at])
  Object.assign(viewer, {at, name, panels})
  find("who").textContent = name
  find("values").textContent = values
  find("before").disabled = at === 0
  find("after").disabled = at === viewer.pictures.length - 1
  find("ways").hidden = panels.length < 2
  lay()
  viewer.turned(at)
}

function lay() {
  const divided = viewer.divided && viewer.panels.length > 1
  find("apart").ariaPressed = !divided
  find("over").ariaPressed = divided
  find("pair").hidden = find("usual").hidden = !divided
  find("panels").className = `${divided ? "divided" : ""} ${viewer.scale ? "zoomed" : ""}`
  for (const button of find("scales").children) button.ariaPressed = +button.value === viewer.scale
  if (divided) choosePair()
  find("panels").replaceChildren(...divided ? [pan(divide())] : viewer.panels.map(side))
}

const picture = ([label, address]) => make("img", {src: address, alt: `${label} of ${viewer.name}`, draggable: false, onload: size})

// Where a pixel covers several of the screen, it is shown as it is: smoothing would hide what a network does.
function size({target: image}) {
  const {naturalWidth: width, naturalHeight: height} = image
  find("pixels").textContent = `${width} × ${height} px`
  if (viewer.scale && !viewer.divided) image.style.width = `${width * viewer.scale}px`
  image.classList.toggle("pixelated", viewer.scale > 1 || !viewer.scale && image.clientWidth >= 2 * width)
}

function side(panel) {
  return make("figure", {}, make("figcaption", {textContent: panel[0]}), pan(picture(panel)))
}

// What is zoomed is moved by scrolling or dragging, and all panels go together.
function pan(...children) {
  const frame = make("div", {className: "pan", tabIndex: viewer.scale ? 0 : -1}, ...children)
  if (!viewer.scale) return frame
  frame.setAttribute("role", "region")
  frame.ariaLabel = "Picture, scrolls"
  frame.onscroll = () => document.querySelectorAll(".pan").forEach(other => {
    if (other !== frame) other.scrollTo(frame.scrollLeft, frame.scrollTop)
  })
  if (viewer.divided) return frame
  frame.onpointerdown = event => event.pointerType === "mouse" && !event.button && frame.setPointerCapture(event.pointerId)
  frame.onpointermove = event => frame.hasPointerCapture(event.pointerId) && frame.scrollBy(-event.movementX, -event.movementY)
  return frame
}

function scaleTo(scale) {
  viewer.scale = scale
  lay()
}

function choosePair() {
  const labels = viewer.panels.map(([label]) => label)
  if (!labels.includes(viewer.left)) viewer.left = labels[0]
  if (!labels.includes(viewer.right)) viewer.right = labels.find(label => label !== viewer.left)
  for (const which of ["left", "right"]) {
    find(which).replaceChildren(...labels.map(label => make("option", {value: label, textContent: label, selected: label === viewer[which]})))
    find(which).onchange = event => {
      viewer[which] = event.target.value
      lay()
      find(which).focus()
    }
  }
  const usual = [["input", "output"], ["output", "target"]].filter(pair => pair.every(label => labels.includes(label)))
  find("usual").replaceChildren(...usual.length > 1 ? usual.map(([left, right]) => make("button", {
    textContent: `${left} | ${right}`, ariaPressed: left === viewer.left && right === viewer.right,
    onclick: event => {
      const at = [...find("usual").children].indexOf(event.target)
      Object.assign(viewer, {left, right})
      lay()
      find("usual").children[at].focus()
    },
  })) : [])
}

function divide() {
  const [left, right] = ["left", "right"].map(which => viewer.panels.find(([label]) => label === viewer[which]))
  const below = picture(right), above = picture(left)
  const divider = make("div", {id: "divider", role: "slider", tabIndex: 0})
  const box = make("div", {id: "box"}, below, above, make("span", {textContent: left[0]}), make("span", {textContent: right[0]}), divider)
  divider.setAttribute("aria-label", `Divider between ${left[0]} and ${right[0]}`)
  divider.setAttribute("aria-valuemin", 0)
  divider.setAttribute("aria-valuemax", 100)
  const put = share => {
    viewer.share = limited(share, 0, 100)
    box.style.setProperty("--share", `${viewer.share}%`)
    divider.setAttribute("aria-valuenow", Math.round(viewer.share))
    divider.setAttribute("aria-valuetext", `${Math.round(viewer.share)} % ${left[0]}`)
  }
  const follow = event => {
    const {left, width} = box.getBoundingClientRect()
    put((event.clientX - left) / width * 100)
  }
  below.onload = event => {
    const {naturalWidth: width, naturalHeight: height} = below
    box.style.setProperty("--ratio", width / height)
    if (viewer.scale) box.style.width = `${width * viewer.scale}px`
    size(event)
    above.classList.toggle("pixelated", below.classList.contains("pixelated"))
  }
  above.onload = null
  box.onpointerdown = event => {
    if (event.button) return
    event.preventDefault()
    box.setPointerCapture(event.pointerId)
    divider.focus({focusVisible: false})
    follow(event)
  }
  box.onpointermove = event => box.hasPointerCapture(event.pointerId) && follow(event)
  divider.onkeydown = event => {
    const far = event.shiftKey ? 10 : 2
    const share = {
      ArrowLeft: viewer.share - far, ArrowDown: viewer.share - far, ArrowRight: viewer.share + far, ArrowUp: viewer.share + far, Home: 0, End: 100,
    }[event.key]
    if (share === undefined || event.altKey || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    put(share)
  }
  put(viewer.share)
  return box
}

function divideOrNot(divided = !viewer.divided) {
  viewer.divided = divided
  lay()
}

find("before").onclick = () => show(viewer.at - 1)
find("after").onclick = () => show(viewer.at + 1)
find("apart").onclick = () => divideOrNot(false)
find("over").onclick = () => divideOrNot(true)
for (const button of find("scales").children) button.onclick = () => scaleTo(+button.value)
find("close").onclick = () => find("viewer").close()
find("viewer").onclick = event => event.target === find("viewer") && find("viewer").close()
find("viewer").onclose = () => viewer.closed(viewer.at)
