// A map without a server: a graticule, tiles or groups of them, the region, examples and matches.
"use strict";

const MOST_SHOWN = 6000; // tiles with footprints in view
const MOST_NODES = 2500; // boxes of groups in view
const CLICK = 5; // px; a shorter drag is a click
const STEPS = [45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const TOP = 85.05; // degrees; as far as Mercator's map goes

const mercator = (lat) => {
  const held = (Math.max(-TOP, Math.min(TOP, lat)) * Math.PI) / 180;
  return 0.5 - Math.log(Math.tan(Math.PI / 4 + held / 2)) / (2 * Math.PI);
};
const latitude = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;

class TileMap {
  constructor(canvas, { onPoint, onBox, onView, passes }) {
    Object.assign(this, { canvas, onPoint, onBox, onView, passes });
    this.centre = [0.5, 0.5]; // share of the world, east and down
    this.scale = 300; // px of the whole world
    this.archive = null;
    this.tiles = [];
    this.cells = [];
    this.matches = [];
    this.world = []; // coastlines and borders
    this.examples = []; // { shape, good }
    this.region = null; // [west, south, east, north]
    this.pointed = null;
    this.drawing = false;
    this.looking = 0;
    this.fingers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), [event.offsetX, event.offsetY]);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }
  toScreen([lon, lat]) {
    const [width, height] = this.size;
    const east = (lon + 180) / 360 - this.centre[0];
    return [width / 2 + east * this.scale, height / 2 + (mercator(lat) - this.centre[1]) * this.scale];
  }
  toPlace([x, y]) {
    const [width, height] = this.size;
    return [((x - width / 2) / this.scale + this.centre[0]) * 360 - 180, latitude((y - height / 2) / this.scale + this.centre[1])];
  }
  // [west, south, east, north] of what is seen; west may lie beyond 180 degrees.
  view() {
    const [width, height] = this.size;
    const [west, north] = this.toPlace([0, 0]);
    const [east, south] = this.toPlace([width, height]);
    return [west, south, east, north];
  }

  fit([west, south, east, north], share = 0.85) {
    const [width, height] = this.size;
    const across = Math.max((east - west) / 360, 1e-7);
    const down = Math.max(mercator(south) - mercator(north), 1e-7);
    this.scale = Math.min((share * width) / across, (share * height) / down);
    this.centre = [((west + east) / 2 + 180) / 360, (mercator(south) + mercator(north)) / 2];
    this.changed();
  }
  zoom(factor, at = this.size.map((length) => length / 2)) {
    const [lon, lat] = this.toPlace(at);
    const [width, height] = this.size;
    this.scale = Math.max(150, Math.min(this.scale * factor, 4e9));
    this.centre = [(lon + 180) / 360 - (at[0] - width / 2) / this.scale, mercator(lat) - (at[1] - height / 2) / this.scale];
    this.changed();
  }
  shift(x, y) {
    this.centre = [this.centre[0] - x / this.scale, Math.max(0, Math.min(1, this.centre[1] - y / this.scale))];
    this.centre[0] -= Math.floor(this.centre[0]);
    this.changed();
  }
  key(event) {
    const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    if (moves[event.key]) this.shift(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else return;
    event.preventDefault();
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.from = [event.offsetX, event.offsetY];
    this.moved = this.fingers.size > 1;
  }
  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const here = [event.offsetX, event.offsetY];
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId);
    this.fingers.set(event.pointerId, here);
    this.moved ||= Math.hypot(here[0] - this.from[0], here[1] - this.from[1]) > CLICK;
    if (others.length) {
      const [, other] = others[0];
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      this.zoom(apart(here) / Math.max(1, apart(before)), other);
    } else if (this.drawing) {
      this.region = this.boxBetween(this.from, here);
      this.draw();
    } else if (this.moved) this.shift(here[0] - before[0], here[1] - before[1]);
  }
  release(event) {
    const alone = this.fingers.size === 1;
    this.fingers.delete(event.pointerId);
    if (!alone) return;
    const here = [event.offsetX, event.offsetY];
    if (this.drawing && this.moved) this.onBox(this.boxBetween(this.from, here));
    else if (!this.moved) this.onPoint(this.toPlace(here), event.shiftKey);
  }
  boxBetween(a, b) {
    const [one, other] = [this.toPlace(a), this.toPlace(b)];
    return [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[0], other[0]), Math.max(one[1], other[1])];
  }
  resize() {
    const [width, height] = this.size;
    const dots = devicePixelRatio || 1;
    this.canvas.width = width * dots;
    this.canvas.height = height * dots;
    this.changed();
  }
  changed() {
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.look(), 150);
  }

  // Read what is in view: footprints of tiles, or boxes of groups if there are too many.
  async look() {
    if (!this.archive) return;
    const number = ++this.looking;
    try {
      const found = await this.inView();
      if (number !== this.looking) return;
      Object.assign(this, found);
      this.draw();
      this.onView(found.count, found.tiles.length > 0);
    } catch (error) {
      if (number === this.looking) this.onView(null, false, error);
    }
  }
  async inView() {
    const archive = this.archive;
    const [west, south, east, north] = this.view();
    const parts = east - west >= 360 ? [[-180, south, 180, north]] : splitBox([west, south, east, north]);
    const region = regionOf(parts);
    await archive.loadTop();
    let level = archive.nodes.length - 1;
    const seen = (numbers) => numbers.filter((one) => placeBox(archive.boxOf(level, one), region) !== OUT);
    let numbers = seen(Array.from({ length: archive.nodes[level].count }, (_, one) => one));
    const size = () => ABOUT.fan ** level * ABOUT.rows;
    while (level > 0 && numbers.length * ABOUT.fan <= MOST_NODES) {
      const below = archive.nodes[level - 1].count;
      await archive.nodes[level - 1].load(numbers);
      const children = numbers.flatMap((one) => Array.from({ length: Math.min(ABOUT.fan, below - one * ABOUT.fan) }, (_, at) => one * ABOUT.fan + at));
      level -= 1;
      numbers = seen(children);
    }
    const count = Math.min(ABOUT.tiles, numbers.length * size());
    if (level === 0 && count <= MOST_SHOWN) {
      const tiles = (await archive.details(numbers)).flat().filter((tile) => tile.shape && this.passes(tile));
      return { tiles, cells: [], count: tiles.filter((tile) => inRegion(tile, region)).length };
    }
    return { tiles: [], cells: numbers.map((one) => archive.boxOf(level, one)).filter((box) => Number.isFinite(box[0])), count };
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    const dots = devicePixelRatio || 1;
    const [width, height] = this.size;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.drawGraticule(pen, colour);
    this.drawWorld(pen, colour);
    pen.fillStyle = colour("tiles");
    pen.strokeStyle = colour("tiles");
    pen.globalAlpha = 0.3;
    for (const box of this.cells) this.path(pen, boxShape(box), () => pen.fill());
    pen.globalAlpha = 0.75;
    pen.lineWidth = 0.8;
    for (const { shape } of this.tiles) this.path(pen, shape, () => pen.stroke());
    pen.globalAlpha = 1;
    if (this.region) {
      pen.strokeStyle = colour("region");
      pen.lineWidth = 2.5;
      pen.setLineDash([7, 5]);
      this.path(pen, boxShape(this.region), () => pen.stroke());
      pen.setLineDash([]);
    }
    for (const { shape } of [...this.matches].reverse()) this.outline(pen, shape, colour("found"), 2.5);
    const taken = []; // where numbers are: of two at a place, such as two dates, the better is shown
    for (const match of this.matches) this.number(pen, match, colour("ink"), taken);
    for (const { shape, good } of this.examples) this.outline(pen, shape, colour(good ? "good" : "bad"), 3.5);
    if (this.pointed) this.outline(pen, this.pointed, colour("ink"), 4);
  }
  // Draw a footprint; one that is too small to be seen as a ring.
  outline(pen, shape, colour, thickness) {
    if (!shape) return;
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    this.path(pen, shape, (width) => {
      pen.stroke();
      if (width > 8) return;
      pen.beginPath();
      const [west, south, east, north] = boundsOfShape(shape);
      const [x, y] = this.toScreen([(west + east) / 2 + 360 * this.turn, (south + north) / 2]);
      pen.arc(x, y, 5, 0, 7);
      pen.stroke();
    });
  }
  // Write a match's rank into its footprint if there is room.
  number(pen, { rank, shape }, colour, taken) {
    if (!shape) return;
    pen.fillStyle = colour;
    pen.font = "bold 13px system-ui, sans-serif";
    this.path(pen, shape, (width) => {
      const [west, south, east, north] = boundsOfShape(shape);
      const [x, y] = this.toScreen([(west + east) / 2 + 360 * this.turn, (south + north) / 2]);
      if (width < 22 || taken.some((other) => Math.hypot(other[0] - x, other[1] - y) < 14)) return;
      taken.push([x, y]);
      pen.fillText(rank, x - 4 * String(rank).length, y + 5);
    });
  }
  // Trace a shape on each copy of the world that is in view.
  path(pen, { points, lines, polygons }, draw) {
    const shape = { points, lines, polygons };
    const box = boundsOfShape(shape);
    const [west, south, east, north] = this.view();
    for (const turn of [-1, 0, 1]) {
      if (!boxesMeet([box[0] + 360 * turn, box[1], box[2] + 360 * turn, box[3]], [west, south, east, north])) continue;
      this.turn = turn;
      pen.beginPath();
      for (const corners of [...points.map((point) => [point]), ...lines, ...polygons.flat()]) {
        corners.forEach(([lon, lat], at) => {
          const [x, y] = this.toScreen([lon + 360 * turn, lat]);
          if (at) pen.lineTo(x, y);
          else pen.moveTo(x, y);
        });
      }
      const [low] = this.toScreen([box[0], 0]);
      const [high] = this.toScreen([box[2], 0]);
      draw(high - low);
    }
  }
  // Coastlines and borders, whose points are shares of the world, east and down.
  drawWorld(pen, colour) {
    const [width, height] = this.size;
    const [left, top] = [this.centre[0] - width / 2 / this.scale, this.centre[1] - height / 2 / this.scale];
    const [right, bottom] = [left + width / this.scale, top + height / this.scale];
    pen.lineWidth = 1;
    for (const { border, box, points } of this.world) {
      for (const turn of [-1, 0, 1]) {
        if (!boxesMeet([box[0] + turn, box[1], box[2] + turn, box[3]], [left, top, right, bottom])) continue;
        pen.strokeStyle = colour(border ? "border" : "coast");
        pen.beginPath();
        for (const [east, down] of points) pen.lineTo((east + turn - left) * this.scale, (down - top) * this.scale);
        pen.stroke();
      }
    }
  }
  drawGraticule(pen, colour) {
    const [west, south, east, north] = this.view();
    const [width, height] = this.size;
    const step = STEPS.find((one) => (east - west) / one >= 4) ?? STEPS.at(-1);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const text = (value, plus, minus) => `${Math.abs(value).toFixed(digits)}°${value === 0 ? "" : value > 0 ? plus : minus}`;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("faint");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.beginPath();
    for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) {
      const [x] = this.toScreen([lon, 0]);
      pen.moveTo(x, 0);
      pen.lineTo(x, height);
      const turned = lon - 360 * Math.floor((lon + 180) / 360);
      if (x > 190 && x < width - 50) pen.fillText(text(turned, "E", "W"), x + 4, height - 8);
    }
    for (let lat = Math.ceil(Math.max(south, -TOP) / step) * step; lat <= Math.min(north, TOP); lat += step) {
      const [, y] = this.toScreen([0, lat]);
      pen.moveTo(0, y);
      pen.lineTo(width, y);
      if (y > 20 && y < height - 30) pen.fillText(text(lat, "N", "S"), width - 52, y - 4);
    }
    pen.stroke();
  }
}

// Coastlines and borders as drawn: { border, box, points }, in shares of the world, east and down.
function worldLines({ features }) {
  return features.map(({ properties: { border }, geometry: { coordinates } }) => {
    const points = coordinates.map(([lon, lat]) => [(lon + 180) / 360, mercator(lat)]);
    return { border, box: boundsOfShape({ points, lines: [], polygons: [] }), points };
  });
}

const boxShape = (box) => polygonShape([[boxRing(box)]]);

// A box with any longitudes as one or two within -180 to 180.
function splitBox([west, south, east, north]) {
  const turns = 360 * Math.floor((west + 180) / 360);
  const turned = (lon, by) => (by ? +(lon - by).toFixed(9) : lon); // without the dust of the subtraction
  const [low, high] = [turned(west, turns), turned(east, turns)];
  if (high <= 180) return [[low, south, high, north]];
  return [[low, south, 180, north], [-180, south, turned(high, 360), north]];
}
