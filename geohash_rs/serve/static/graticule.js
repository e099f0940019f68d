// Meridians and parallels with their labels.

const feature = (geometry, properties = {}) => ({ type: "Feature", geometry, properties });
const STEPS = [45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

export function graticule([west, south, east, north]) {
  const step = STEPS.find((one) => (east - west) / one >= 4) ?? 0.001;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const features = [];
  const anchors = [];
  const text = (value, plus, minus) => `${Math.abs(value).toFixed(digits)}°${value % 180 === 0 ? "" : value > 0 ? plus : minus}`;
  const line = (a, b) => features.push(feature({ type: "LineString", coordinates: [a, b] }));
  const [low, high] = [Math.max(south, -85), Math.min(north, 85)];
  for (let x = Math.ceil(west / step) * step; x <= east; x += step) {
    line([x, low], [x, high]);
    const lon = ((((x + 180) % 360) + 360) % 360) - 180;
    anchors.push(feature({ type: "Point", coordinates: [x, low] }, { image: text(+lon.toFixed(digits), "E", "W"), anchor: "bottom-left" }));
  }
  for (let y = Math.ceil(low / step) * step; y <= high; y += step) {
    line([west, y], [east, y]);
    anchors.push(feature({ type: "Point", coordinates: [east, y] }, { image: text(+y.toFixed(digits), "N", "S"), anchor: "bottom-right" }));
  }
  return { features, anchors };
}
