// Search as the archive does: by Hamming distance, ties by tile id, and by good and bad examples.
"use strict";

const CANDIDATES = 1000, PER_MATCH = 10; // nearest tiles to reorder: at least, and per match
const REACH = 0.15; // share of differing bits at which likeness is 1 / e
const DOUBT = 0.5; // variance of a judgement
const WRONG = -0.5; // what a bad example scores; a good one scores 1
const FEW = 64; // candidates
const WINDOW = 32; // tiles at a time whose footprints are compared with the region
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

// A region: polygons as lists of rings, or boxes [west, south, east, north].
const regionOf = (parts) =>
  parts.map((part) => {
    const isBox = typeof part[0] === "number";
    const rings = isBox ? [boxRing(part)] : part;
    return { rings, isBox, bounds: boundsOfShape(polygonShape([rings])) };
  });

function distance(a, b) {
  let bits = 0;
  for (let at = 0; at < a.length; at++) bits += ONES[a[at] ^ b[at]];
  return bits;
}

// Bytes that a search would read before it can compare codes.
async function costOf(archive, where) {
  let tiles = 0;
  for (const { first, last } of await archive.blocksOf(where)) {
    for (let block = first; block <= last; block++) if (!archive.codes.kept.has(block)) tiles += ABOUT.rows;
  }
  return tiles * (archive.codeBytes + 2 * (where.kinds?.length ?? 0));
}

// Rows that may count, with distances: { rows, distances, tests }; times are tested here.
async function compare(archive, queries, where, progress) {
  const runs = await archive.blocksOf(where);
  const kindly = await rowsOfKinds(archive, runs, where.kinds, progress);
  const blocks = [];
  const timed = [];
  for (const { first, last, tests } of runs) {
    for (let block = first; block <= last; block++) {
      if (kindly && !kindly.has(block)) continue;
      blocks.push(block);
      if (tests & TIME) timed.push(block);
    }
  }
  const [codes] = await Promise.all([
    queries,
    archive.codes.load(blocks, progress),
    archive.starts.load(timed, progress),
    archive.ends === archive.starts ? null : archive.ends.load(timed, progress),
  ]);
  const most = blocks.length * ABOUT.rows;
  const found = { rows: new Uint32Array(most), distances: new Uint16Array(most), places: new Uint8Array(most), count: 0 };
  for (const { first, last, tests } of runs) {
    for (let block = first; block <= last; block++) {
      if (kindly && !kindly.has(block)) continue;
      const ofKind = kindly?.get(block);
      const counts = tests & TIME ? rowsInTime(archive, block, where.time) : null;
      const rows = Math.min(ABOUT.rows, ABOUT.tiles - block * ABOUT.rows);
      const bytes = archive.codes.at(block);
      for (let row = 0; row < rows; row++) {
        if ((counts && !counts[row]) || (ofKind && !ofKind[row])) continue;
        let nearest = 65535;
        for (const code of codes) {
          let bits = 0;
          for (let at = 0, from = row * code.length; at < code.length; at++) bits += ONES[code[at] ^ bytes[from + at]];
          if (bits < nearest) nearest = bits;
        }
        found.rows[found.count] = block * ABOUT.rows + row;
        found.distances[found.count] = nearest;
        found.places[found.count++] = tests & PLACE;
      }
    }
  }
  return found;
}

// For each block that has any, which rows are of the scene, label and size that are asked for; null
// if none is. kinds is a list of [kind, number].
async function rowsOfKinds(archive, runs, kinds, progress) {
  if (!kinds?.length) return null;
  const blocks = runs.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, at) => first + at));
  await Promise.all(kinds.map(([kind]) => archive.kinds[kind].load(blocks, progress)));
  const found = new Map();
  for (const block of blocks) {
    const columns = kinds.map(([kind, number]) => [archive.kinds[kind].at(block), number]);
    const rows = Array.from({ length: columns[0][0].length / 2 }, (_, row) => columns.every(([bytes, number]) => bytes[2 * row] + 256 * bytes[2 * row + 1] === number));
    if (rows.includes(true)) found.set(block, rows);
  }
  return found;
}

function rowsInTime(archive, block, [from, to]) {
  const [starts, ends] = [archive.starts.at(block), archive.ends.at(block)].map((bytes) => new BigInt64Array(bytes.slice().buffer));
  return Array.from(starts, (start, row) => start !== NEVER && start <= to && ends[row] >= from);
}

// The k nearest tiles, as { row, id, distance }; exact with every filter.
async function nearest(archive, queries, k, where, progress) {
  const found = await compare(archive, queries, where, progress);
  const counts = new Float64Array(ABOUT.num_bits + 1);
  for (let at = 0; at < found.count; at++) counts[found.distances[at]] += found.places[at] ? 0 : 1;
  const wanted = k + where.leftOut.size;
  let [reach, sure] = [-1, 0];
  while (sure < wanted && reach < ABOUT.num_bits) sure += counts[++reach];
  const near = [];
  for (let at = 0; at < found.count; at++) {
    if (found.distances[at] <= reach) near.push({ row: found.rows[at], distance: found.distances[at], test: found.places[at] });
  }
  await nameTiles(archive, near);
  const order = near.filter(({ id }) => !where.leftOut.has(id)).sort((a, b) => a.distance - b.distance || a.id - b.id);
  const kept = [];
  for (let at = 0; at < order.length && kept.length < k; ) {
    const part = order.slice(at, at + Math.max(WINDOW, k - kept.length));
    at += part.length;
    const doubtful = part.filter(({ test }) => test);
    const tiles = await archive.tiles(doubtful.map(({ row }) => row));
    const outside = new Set(doubtful.filter((_, one) => !inRegion(tiles[one], where.region)));
    kept.push(...part.filter((one) => !outside.has(one)));
  }
  return kept.slice(0, k);
}

// Add the tile ids of candidates: of few from their details, which most of them need anyway, so that
// a search makes fewer requests.
async function nameTiles(archive, near) {
  if (near.length <= FEW) {
    const tiles = await archive.tiles(near.map(({ row }) => row));
    near.forEach((one, at) => (one.id = tiles[at].tile_id));
    return;
  }
  const blocks = new Set(near.map(({ row }) => Math.floor(row / ABOUT.rows)));
  await archive.ids.load([...blocks].sort((a, b) => a - b));
  for (const one of near) one.id = archive.idAt(itemOf(archive.ids, one.row), 0);
}

const inRegion = ({ shape }, region) => shape !== null && region.some(({ rings }) => shapesMeet(polygonShape([rings]), shape));

// Scores of tiles: the mean of a Gaussian process that observed 1 at good examples and -0.5 at bad
// ones, k(c, E) (k(E, E) + I / 2)^-1 y. Rasmussen and Williams, Gaussian Processes for Machine
// Learning, 2006, equation 2.25, https://gaussianprocess.org/gpml/
function feedbackScores(codes, good, bad) {
  const examples = [...good, ...bad];
  const likeness = Float64Array.from({ length: ABOUT.num_bits + 1 }, (_, bits) => Math.exp(-bits / (REACH * ABOUT.num_bits)));
  const matrix = examples.map((one, row) => examples.map((other, at) => likeness[distance(one, other)] + (row === at ? DOUBT : 0)));
  const weights = solve(matrix, examples.map((_, at) => (at < good.length ? 1 : WRONG)));
  return codes.map((code) => examples.reduce((sum, example, at) => sum + weights[at] * likeness[distance(example, code)], 0));
}

// Solve a system of linear equations by elimination with pivots.
function solve(matrix, values) {
  const rows = matrix.map((row, at) => [...row, values[at]]);
  const count = rows.length;
  for (let at = 0; at < count; at++) {
    let pivot = at;
    for (let row = at + 1; row < count; row++) if (Math.abs(rows[row][at]) > Math.abs(rows[pivot][at])) pivot = row;
    [rows[at], rows[pivot]] = [rows[pivot], rows[at]];
    for (let row = at + 1; row < count; row++) {
      const share = rows[row][at] / rows[at][at];
      for (let col = at; col <= count; col++) rows[row][col] -= share * rows[at][col];
    }
  }
  const found = new Array(count);
  for (let at = count - 1; at >= 0; at--) {
    let sum = rows[at][count];
    for (let col = at + 1; col < count; col++) sum -= rows[at][col] * found[col];
    found[at] = sum / rows[at][at];
  }
  return found;
}

// Search by tiles: good and bad are lists of tile ids; region and time may be null; kinds limits
// scene, label and tile_size to one each. Matches are tiles with rank, distance and similarity.
async function search(archive, { good, bad = [], k = 20, region = null, time = null, kinds = {} }, progress) {
  const codesOf = (ids) => Promise.all(ids.map(async (id) => archive.codeOf(await knownRow(archive, id))));
  const both = good.find((id) => bad.includes(id));
  if (both !== undefined) throw new Error(`Tile ${both} is both a good and a bad example; leave one of them out.`);
  if (time && !ABOUT.timed) throw new Error("No tile of this archive has a date; leave “When” empty.");
  const queries = codesOf(good);
  queries.catch(() => {}); // it is awaited later, and reported there
  const where = { region: region && regionOf(region), time, kinds: numberedKinds(kinds), leftOut: new Set(bad) };
  const depth = bad.length ? Math.max(CANDIDATES, PER_MATCH * k) : k;
  let [found, rejected] = await Promise.all([nearest(archive, queries, depth, where, progress), codesOf(bad)]);
  for (const one of found) one.similarity = 1 - one.distance / ABOUT.num_bits;
  if (bad.length) {
    const scores = feedbackScores(found.map(({ row }) => archive.codeAt(row)), await queries, rejected);
    found.forEach((one, at) => (one.similarity = scores[at]));
    found.sort((a, b) => b.similarity - a.similarity || a.distance - b.distance || a.id - b.id);
    found = found.slice(0, k);
  }
  const tiles = await archive.tiles(found.map(({ row }) => row));
  return tiles.map((tile, at) => ({ rank: at + 1, distance: found[at].distance, similarity: found[at].similarity, ...tile }));
}

// Names of kinds, such as { scene: "a.tif" }, as a list of [kind, number].
function numberedKinds(kinds) {
  return Object.entries(kinds).map(([kind, name]) => {
    const number = (ABOUT.kinds[kind] ?? []).indexOf(name) + 1;
    if (!number) throw new Error(`No tile of this archive has the ${kind.replace("_", " ")} ${plainText(String(name))}.`);
    return [kind, number];
  });
}

async function knownRow(archive, id) {
  const row = Number.isSafeInteger(id) ? await archive.rowOf(id) : null;
  if (row === null) throw new Error(`There is no tile ${id}; ids are shown with the matches.`);
  return row;
}
