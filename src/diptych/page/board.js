// A drawing board: mouse, touch and pen draw whole pixels in flat colours, as label maps have them.

const MOST_UNDO = 40;

class Board {
  /** `paper` is the colour of an empty board, null for a transparent one; `changed` is called after each change. */
  constructor(canvas, paper, changed) {
    Object.assign(this, { canvas, paper, changed, ink: paper, width: 1, tool: "brush", past: [], last: null });
    this.context = contextOf(canvas);
    canvas.addEventListener("pointerdown", (event) => this.start(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.finish());
    canvas.addEventListener("pointercancel", () => this.abandon());
  }

  /** An empty board of another size, or one with a picture. */
  reset(width, height, image = null) {
    this.past = [];
    show(this.canvas, image ?? new ImageData(width, height));
    if (!image) this.empty();
    this.changed();
  }

  clear() {
    this.remember();
    this.empty();
    this.changed();
  }

  undo() {
    if (!this.past.length) return;
    this.context.putImageData(this.past.pop(), 0, 0);
    this.changed();
  }

  /** 255 where something is drawn on a transparent board. */
  get mask() {
    return Uint8Array.from(levelsOf(this.canvas).data.filter((_, i) => i % 4 === 3), (alpha) => (alpha > 127 ? 255 : 0));
  }

  empty() {
    const { width, height } = this.canvas;
    this.context.clearRect(0, 0, width, height);
    if (this.paper) this.box(this.paper, 0, 0, width, height);
  }

  remember() {
    this.past.push(levelsOf(this.canvas));
    if (this.past.length > MOST_UNDO) this.past.shift();
  }

  // ---- strokes

  start(event) {
    if (event.button > 0 || this.last) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.first = this.last = this.place(event);
    if (this.tool === "fill") this.fill(...this.first);
    else this.draw(this.first);
  }

  move(event) {
    if (!this.last || this.tool === "fill") return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.draw(this.place(one));
  }

  finish() {
    if (!this.last) return;
    this.last = null;
    this.changed();
  }

  /** A second finger moves and zooms the page, and what the first one drew was not meant. */
  abandon() {
    if (!this.last) return;
    this.last = null;
    this.undo();
  }

  /** The pixel under the pointer. */
  place(event) {
    const shown = this.canvas.getBoundingClientRect();
    return [
      Math.floor(((event.clientX - shown.left) / shown.width) * this.canvas.width),
      Math.floor(((event.clientY - shown.top) / shown.height) * this.canvas.height),
    ];
  }

  draw([x, y]) {
    if (this.tool === "rectangle") {
      this.context.putImageData(this.past.at(-1), 0, 0);
      const [left, top] = [Math.min(x, this.first[0]), Math.min(y, this.first[1])];
      this.box(this.ink, left, top, Math.abs(x - this.first[0]) + 1, Math.abs(y - this.first[1]) + 1);
    } else {
      const ink = this.tool === "eraser" ? null : this.ink, [fromX, fromY] = this.last;
      const steps = Math.max(1, Math.abs(x - fromX), Math.abs(y - fromY));
      for (let i = 1; i <= steps; i++) {
        this.dot(ink, Math.round(fromX + ((x - fromX) * i) / steps), Math.round(fromY + ((y - fromY) * i) / steps));
      }
    }
    this.last = [x, y];
  }

  /** A disc without soft edges, which would be colours of no class. */
  dot(ink, x, y) {
    const radius = this.width / 2, first = -Math.floor((this.width - 1) / 2);
    for (let row = first; row < first + this.width; row++) {
      const fromCentre = row + (this.width % 2 ? 0 : -0.5), half = Math.sqrt(radius ** 2 - fromCentre ** 2);
      const left = Math.ceil(x + (this.width % 2 ? 0 : 0.5) - half), right = Math.floor(x + (this.width % 2 ? 0 : 0.5) + half);
      this.box(ink, left, y + row, right - left + 1, 1);
    }
  }

  /** A rectangle of one colour; null takes away what is there. */
  box(ink, left, top, width, height) {
    if (ink === null) return this.context.clearRect(left, top, width, height);
    this.context.fillStyle = ink;
    this.context.fillRect(left, top, width, height);
  }

  /** All pixels around (x, y) of its colour. */
  fill(x, y) {
    const { width, height } = this.canvas, image = levelsOf(this.canvas), pixels = new Uint32Array(image.data.buffer);
    this.box(this.ink, x, y, 1, 1);
    const ink = new Uint32Array(this.context.getImageData(x, y, 1, 1).data.buffer)[0], old = pixels[y * width + x];
    if (ink === old) return;
    for (const waiting = [[x, y]]; waiting.length;) {
      const [column, row] = waiting.pop(), index = row * width + column;
      if (column < 0 || row < 0 || column >= width || row >= height || pixels[index] !== old) continue;
      pixels[index] = ink;
      waiting.push([column - 1, row], [column + 1, row], [column, row - 1], [column, row + 1]);
    }
    this.context.putImageData(image, 0, 0);
  }
}
