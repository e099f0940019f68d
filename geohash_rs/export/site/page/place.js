// The tile at a place, by the rule of the archive, and how its date is written.
"use strict";

// The tile size by which tiles are filtered, px; null if it is not known.
function sizeOf({ tile_size: size, width, height }) {
  const sides = [width, height].filter((side) => (side ?? null) !== null);
  return size ?? (sides.length ? Math.max(...sides) : null);
}

// All tiles that cover a place, the one to search with first: the smallest, px; of those the latest;
// of those the nearest centre; of those the lowest id.
async function tilesAt(archive, { lat, lng }) {
  const place = [turnedBack(lng), lat];
  const blocks = [];
  for (const { first, last } of await archive.blocksOf({ region: regionOf([[...place, ...place]]) })) {
    for (let block = first; block <= last; block++) blocks.push(block);
  }
  const point = { points: [place], lines: [], polygons: [] };
  const here = (await archive.details(blocks)).flat().filter(({ shape }) => shape && shapesMeet(shape, point));
  const ranked = here.map((tile) => {
    const [x, y] = centroid(unwrapped(tile.shape));
    const across = Math.abs(x - place[0]);
    const away = Math.hypot(Math.min(across, 360 - across), y - place[1]);
    return { tile, size: sizeOf(tile) ?? Infinity, date: (tile.datetime ?? "").replace("Z", ""), away: Math.round(1e9 * away) };
  });
  const later = (a, b) => (a.date === b.date ? 0 : a.date > b.date ? -1 : 1);
  ranked.sort((a, b) => (a.size === b.size ? 0 : a.size - b.size) || later(a, b) || a.away - b.away || a.tile.tile_id - b.tile.tile_id);
  return ranked.map(({ tile }) => tile);
}

// The centre of mass of a shape's polygons; of a shape without any, the middle of its box. The
// longitude of an unwrapped shape's may be beyond 180.
function centroid(shape) {
  let [sum, east, north] = [0, 0, 0];
  for (const rings of shape.polygons) {
    rings.forEach((ring, hole) => {
      const [x0, y0] = ring[0];
      let [area, x, y] = [0, 0, 0];
      for (let at = 1; at < ring.length; at++) {
        const [a, b, c, d] = [ring[at - 1][0] - x0, ring[at - 1][1] - y0, ring[at][0] - x0, ring[at][1] - y0];
        area += a * d - c * b;
        x += (a + c) * (a * d - c * b);
        y += (b + d) * (a * d - c * b);
      }
      if (!area) return;
      const weight = Math.abs(area) * (hole ? -1 : 1);
      sum += weight;
      east += weight * (x0 + x / (3 * area));
      north += weight * (y0 + y / (3 * area));
    });
  }
  if (sum > 0) return [east / sum, north / sum];
  const [west, south, right, top] = boundsOfShape(shape);
  return [(west + right) / 2, (south + top) / 2];
}

// When a tile was taken: a day if it is a whole day, both ends of a range, seconds otherwise.
function fullDate({ datetime, datetime_end: end }) {
  if (!datetime) return "no date";
  const last = end ?? datetime;
  const [first, until] = [datetime.slice(0, 10), last.slice(0, 10)];
  const whole = /T00:00:00Z$/.test(datetime) && (/T23:59:59/.test(last) || (/T00:00:00Z$/.test(last) && !end));
  const clock = (text) => `${text.slice(0, 10)} ${text.slice(11, 19)}`;
  if (whole) return first === until ? first : `${first} to ${until}`;
  return last === datetime ? `${clock(datetime)} UTC` : `${clock(datetime)} to ${clock(last)} UTC`;
}
