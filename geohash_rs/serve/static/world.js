// Coastlines and land borders, which travel with the page; geohash_rs/pictures/world.py has the format.

const STEP = 0.01; // degrees

// Convert the file, a gzip stream, to GeoJSON lines with the property `border`.
export async function readWorld(stream) {
  const bytes = new Uint8Array(await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  let at = 0;
  const number = () => {
    let value = 0;
    let shift = 0;
    for (;;) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
      shift += 7;
    }
  };
  const move = () => {
    const value = number();
    return (value >> 1) ^ -(value & 1);
  };
  const features = [];
  let [x, y] = [0, 0];
  for (const border of [false, true]) {
    for (let left = number(); left > 0; left -= 1) {
      const coordinates = [];
      for (let points = number(); points > 0; points -= 1) {
        x += move();
        y += move();
        coordinates.push([+(x * STEP).toFixed(2), +(y * STEP).toFixed(2)]);
      }
      features.push({ type: "Feature", properties: { border }, geometry: { type: "LineString", coordinates } });
    }
  }
  return { type: "FeatureCollection", features };
}
