// The tile at a place, by the rule of the archive, and places as people write them.
"use strict";

// The tile size by which tiles are filtered, px; null if it is not known.
function sizeOf({ tile_size: size, width, height }) {
  const sides = [width, height].filter((side) => (side ?? null) !== null);
  return size ?? (sides.length ? Math.max(...sides) : null);
}

// All tiles that cover a place, the one to search with first: the smallest, px; of those the latest;
// of those the nearest centre; of those the lowest id.
async function tilesAt(archive, [lon, lat]) {
  const place = [Math.abs(lon) <= 180 ? lon : lon - 360 * Math.floor((lon + 180) / 360), lat];
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

// Read two numbers as longitude and latitude: [lon, lat]. Latitude comes first, as most maps write
// it, unless letters tell, or only the other order lies on the globe or in the archive.
function readPlace(text) {
  const found = text.replace(/[−–]/g, "-").match(/^\s*(-?\d+(?:\.\d+)?)\s*°?\s*([NSEW]?)[\s,;]+(-?\d+(?:\.\d+)?)\s*°?\s*([NSEW]?)\s*$/i);
  if (!found) throw new Error(`“${plainText(text)}” is not a place; write latitude and longitude in degrees, such as 46.2, 7.1.`);
  const letters = [found[2], found[4]].map((letter) => letter.toUpperCase());
  const values = [found[1], found[3]].map((part, at) => Number(part) * ("SW".includes(letters[at] || "-") ? -1 : 1));
  const onGlobe = ([lon, lat]) => Math.abs(lat) <= 90 && Math.abs(lon) <= 360;
  const usual = [values[1], values[0]];
  const axes = letters.map((letter) => letter && ("NS".includes(letter) ? 1 : 0));
  if (axes[0] !== "" && axes[0] === axes[1]) throw new Error(`“${plainText(text)}” names two ${axes[0] ? "latitudes" : "longitudes"}; write one of each.`);
  const told = axes[0] === 1 || axes[1] === 0 ? usual : axes[0] === 0 || axes[1] === 1 ? values : null;
  const place = told ?? (onGlobe(usual) && (!onGlobe(values) || inBounds(usual) || !inBounds(values)) ? usual : values);
  if (!onGlobe(place)) throw new Error(`“${plainText(text)}” is not on the globe: latitudes go to 90 degrees, longitudes to 180.`);
  return place;
}

function inBounds([lon, lat]) {
  const [west, south, east, north] = ABOUT.bounds ?? [0, 0, 0, 0];
  return lat >= south && lat <= north && lon - 360 * Math.floor((lon - west) / 360) <= east;
}

function placeText([lon, lat]) {
  const turned = lon - 360 * Math.floor((lon + 180) / 360);
  const side = (value, plus, minus) => `${+Math.abs(value).toFixed(5)}° ${value < 0 ? minus : plus}`;
  return `${side(lat, "N", "S")}, ${side(turned, "E", "W")}`;
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
