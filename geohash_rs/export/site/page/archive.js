// The archive in the folder: find tiles by id, blocks by place and time, and details of tiles.
"use strict";

const OUT = 0, IN = 1, CUT = 2;
const PLACE = 1, TIME = 2; // what must be tested for single tiles of a block
const NEVER = -(2n ** 63n);

class Archive {
  constructor(source) {
    const { tiles, rows, fan, step, levels, num_bits: bits, id_bytes: idBytes } = ABOUT;
    this.source = source;
    this.blocks = Math.ceil(tiles / rows);
    this.codeBytes = bits / 8;
    const column = (name, width, page, count) => new Column(source, name, { width, page, count });
    this.codes = column("codes", this.codeBytes, rows, tiles);
    this.ids = column("ids", idBytes, rows, tiles);
    this.starts = column("starts", 8, rows, tiles);
    this.ends = ABOUT.ended ? column("ends", 8, rows, tiles) : this.starts;
    this.kinds = Object.fromEntries(Object.keys(ABOUT.kinds).map((kind) => [kind, column(kind, 2, rows, tiles)]));
    this.places = column("places", 8, rows, this.blocks + 1);
    this.steps = column("steps", 8, step, Math.ceil(tiles / step));
    this.sorted = column(ABOUT.ascending ? "ids" : "sorted", idBytes, step, tiles);
    this.rowsById = ABOUT.ascending ? null : column("rows", 4, step, tiles);
    this.nodes = [];
    this.times = [];
    for (let level = 0, count = this.blocks; level < levels; level++, count = Math.ceil(count / fan)) {
      this.nodes.push(column(`nodes-${level}`, 16, fan, count));
      this.times.push(column(`times-${level}`, 32, fan, count));
    }
    this.known = new Map(); // block -> promise of its details
  }

  idAt(view, at) {
    return ABOUT.id_bytes === 4 ? view.getUint32(4 * at, true) : view.getFloat64(8 * at, true);
  }

  // The row of a tile; null if there is none with this id.
  async rowOf(id) {
    const group = lastAtMost(ABOUT.first_ids.length, (at) => ABOUT.first_ids[at], id);
    if (group < 0) return null;
    const steps = await this.steps.view(group);
    const page = group * ABOUT.step + lastAtMost(steps.byteLength / 8, (at) => steps.getFloat64(8 * at, true), id);
    const [ids, rows] = await Promise.all([this.sorted.view(page), this.rowsById?.view(page)]);
    const at = lastAtMost(ids.byteLength / ABOUT.id_bytes, (one) => this.idAt(ids, one), id);
    if (at < 0 || this.idAt(ids, at) !== id) return null;
    return rows ? rows.getUint32(4 * at, true) : page * ABOUT.step + at;
  }

  async codeOf(row) {
    await this.codes.load([Math.floor(row / ABOUT.rows)]);
    return this.codeAt(row);
  }
  codeAt(row) {
    const start = (row % ABOUT.rows) * this.codeBytes;
    return this.codes.at(Math.floor(row / ABOUT.rows)).subarray(start, start + this.codeBytes);
  }

  // The box of a node that is loaded: west, south, east, north.
  boxOf(level, number) {
    const view = itemOf(this.nodes[level], number);
    return [0, 4, 8, 12].map((at) => view.getFloat32(at, true));
  }
  // Its least and greatest start, least and greatest end.
  timesOf(level, number) {
    const view = itemOf(this.times[level], number);
    return [0, 8, 16, 24].map((at) => view.getBigInt64(at, true));
  }
  loadNodes(level, pages, time) {
    return Promise.all([this.nodes[level].load(pages), time && this.times[level].load(pages)]);
  }
  loadTop(time = null) {
    const level = this.nodes.length - 1;
    const pages = Math.ceil(this.nodes[level].count / ABOUT.fan);
    return this.loadNodes(level, Array.from({ length: pages }, (_, page) => page), time);
  }

  // Runs of blocks that may hold tiles of a region (a list of polygons) and a time range, in order:
  // { first, last, tests }, last included.
  async blocksOf({ region, time }) {
    if (!region && !time) return [{ first: 0, last: this.blocks - 1, tests: 0 }];
    await this.loadTop(time);
    let level = this.nodes.length - 1;
    let open = Array.from({ length: this.nodes[level].count }, (_, number) => number);
    const taken = [];
    for (; ; level--) {
      const size = ABOUT.fan ** level;
      const cut = [];
      for (const number of open) {
        const place = region ? placeBox(this.boxOf(level, number), region) : IN;
        const when = time && place !== OUT ? placeTimes(this.timesOf(level, number), time) : IN;
        if (place === OUT || when === OUT) continue;
        const tests = (place === CUT ? PLACE : 0) | (when === CUT ? TIME : 0);
        if (tests && level > 0) cut.push(number);
        else taken.push({ first: number * size, last: Math.min((number + 1) * size, this.blocks) - 1, tests });
      }
      if (!cut.length) break;
      await this.loadNodes(level - 1, cut, time);
      const below = this.nodes[level - 1].count;
      open = cut.flatMap((number) => Array.from({ length: Math.min(ABOUT.fan, below - number * ABOUT.fan) }, (_, at) => number * ABOUT.fan + at));
    }
    return taken.sort((a, b) => a.first - b.first);
  }

  // Details of blocks: sorted and distinct numbers in, lists of tiles out.
  async details(blocks) {
    const wanted = blocks.filter((block) => !this.known.has(block));
    if (wanted.length) {
      const asked = this.readDetails(wanted);
      wanted.forEach((block, at) => this.known.set(block, asked.then((found) => found[at])));
      asked.catch(() => wanted.forEach((block) => this.known.delete(block)));
    }
    return Promise.all(blocks.map((block) => this.known.get(block)));
  }
  async readDetails(blocks) {
    const pages = new Set(blocks.flatMap((block) => [block, block + 1]).map((entry) => Math.floor(entry / ABOUT.rows)));
    await this.places.load([...pages].sort((a, b) => a - b));
    const place = (entry) => itemOf(this.places, entry).getFloat64(0, true);
    const packed = await readRanges(this.source, "details.bin", blocks.map((block) => [place(block), place(block + 1)]));
    return Promise.all(packed.map(tilesOf));
  }

  // Tiles of rows in the order given.
  async tiles(rows) {
    const blockOf = (row) => Math.floor(row / ABOUT.rows);
    const blocks = [...new Set(rows.map(blockOf))].sort((a, b) => a - b);
    const found = new Map((await this.details(blocks)).map((tiles, at) => [blocks[at], tiles]));
    return rows.map((row) => found.get(blockOf(row))[row % ABOUT.rows]);
  }
}

// An item of a page that is loaded.
function itemOf(column, number) {
  const bytes = column.at(Math.floor(number / column.page));
  return new DataView(bytes.buffer, bytes.byteOffset + (number % column.page) * column.width, column.width);
}

// The last position whose value is at most `wanted`, of ascending values; -1 if none is.
function lastAtMost(count, valueAt, wanted) {
  let [low, high] = [-1, count - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (valueAt(middle) <= wanted) low = middle;
    else high = middle - 1;
  }
  return low;
}

// Whether the tiles in a box are outside a region, inside, or must be tested. A box may lie beyond
// 180 degrees; a region lies within.
function placeBox(box, region) {
  let found = OUT;
  for (const turn of [-360, 0, 360]) {
    const here = [box[0] + turn, box[1], box[2] + turn, box[3]];
    for (const { rings, bounds, isBox } of region) {
      if (!boxesMeet(here, bounds)) continue;
      if (isBox ? boxInside(here, bounds) : boxInPolygon(here, rings)) return IN;
      if (isBox || !Number.isFinite(here[0]) || shapesMeet(polygonShape([[boxRing(here)]]), polygonShape([rings]))) found = CUT;
    }
  }
  return found;
}

function placeTimes([leastStart, mostStart, leastEnd, mostEnd], [from, to]) {
  if (leastStart > to || mostEnd < from) return OUT;
  return mostStart <= to && leastEnd >= from ? IN : CUT;
}

// Unpack the tiles of a block.
async function tilesOf(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const view = new DataView(bytes.buffer);
  let at = 4 + view.getUint32(0, true);
  const { scenes, scene, ...columns } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, at)));
  let place = at + 4 * scene.length;
  return scene.map((number, row) => {
    const tile = { scene: scenes[number] };
    for (const [name, values] of Object.entries(columns)) tile[name] = values[row];
    const size = view.getUint32(at + 4 * row, true);
    tile.shape = size ? readShape(bytes.subarray(place, (place += size))) : null;
    return tile;
  });
}
