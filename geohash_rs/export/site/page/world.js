// Coastlines and borders, so that a place can be found on a map without any server.
"use strict";

const WORLD_STEP = 0.01; // degrees; geohash_rs/pictures/world.py has the format

// Unpack the lines: { border, box, points }, in shares of the world, east and down.
async function readWorld(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      value |= (bytes[at] & 127) << shift;
      if (bytes[at++] < 128) return value;
    }
  };
  const move = () => {
    const value = number();
    return (value >> 1) ^ -(value & 1);
  };
  const lines = [];
  let [lon, lat] = [0, 0];
  for (const border of [false, true]) {
    for (let left = number(); left > 0; left--) {
      const points = new Float64Array(2 * number());
      const box = [Infinity, Infinity, -Infinity, -Infinity];
      for (let one = 0; one < points.length; one += 2) {
        lon += move();
        lat += move();
        const place = [(lon * WORLD_STEP + 180) / 360, mercator(lat * WORLD_STEP)];
        points.set(place, one);
        for (const axis of [0, 1]) {
          box[axis] = Math.min(box[axis], place[axis]);
          box[axis + 2] = Math.max(box[axis + 2], place[axis]);
        }
      }
      lines.push({ border, box, points });
    }
  }
  return lines;
}

// Draw the lines once they are there; a map without them is a map, too.
async function addWorld(map) {
  await loadScript("world");
  map.world = await readWorld(scripts.get("world"));
  map.draw();
}
