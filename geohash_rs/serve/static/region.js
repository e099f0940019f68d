// Regions as the server accepts them: longitudes from -360 to 360, latitudes up to the poles.

// On a map that wraps around the globe, longitudes can have any value.
export function normal({ coordinates: [ring] }) {
  const lons = ring.map(([x]) => x);
  let turns = 360 * Math.floor((Math.min(...lons) + 180) / 360);
  if (Math.max(...lons) - turns > 360) turns += 360;
  return { type: "Polygon", coordinates: [ring.map(([x, y]) => [+(x - turns).toFixed(6), +Math.max(-90, Math.min(90, y)).toFixed(6)])] };
}

// The region of a view; null if the view wraps around the whole globe.
export function regionOfView(bounds) {
  const [w, s, e, n] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  return e - w >= 360 ? null : normal({ coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] });
}
