// Bounding boxes on the globe, where 180 and -180 are the same meridian.

// The narrowest (west, south, east, north) around all geometries. Parts split at the antimeridian
// stay together, with east beyond 180. Null if there are no geometries.
export function boundsOf(geometries) {
  const parts = geometries.filter((one) => one?.coordinates).flatMap(partsOf).map(boxOf);
  if (!parts.length) return null;
  const west = parts.map((box) => box[0] - turn(box[0])); // from -180 to 180
  const spans = parts.map((box, i) => [west[i], west[i] + box[2] - box[0]]).sort((a, b) => a[0] - b[0]);
  let [start, gap] = [spans[0][0], -Infinity];
  let reach = spans[0][1];
  for (const [from, to] of spans) {
    if (from - reach > gap) [start, gap] = [from, from - reach];
    reach = Math.max(reach, to);
  }
  const round = spans[0][0] + 360 - reach; // the gap across the antimeridian
  if (round >= gap) start = spans[0][0];
  const ends = spans.map(([from, to]) => to + (from < start ? 360 : 0));
  const south = Math.min(...parts.map((box) => box[1]));
  const north = Math.max(...parts.map((box) => box[3]));
  return [start, south, Math.min(Math.max(...ends), start + 360), north];
}

export function middleOf([west, south, east, north]) {
  const lon = (west + east) / 2;
  return [lon - turn(lon), (south + north) / 2];
}

const turn = (lon) => 360 * Math.floor((lon + 180) / 360);

function partsOf({ type, coordinates }) {
  return type.startsWith("Multi") ? coordinates : [coordinates];
}

function boxOf(part) {
  const points = part.flat(Infinity); // x, y, x, y, ...
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  points.forEach((value, at) => {
    const axis = at % 2;
    box[axis] = Math.min(box[axis], value);
    box[axis + 2] = Math.max(box[axis + 2], value);
  });
  return box;
}
