// The map: scenes, footprints in view, matches, examples and the region; no base map of its own.
import * as api from "./api.js";

const EMPTY = { type: "FeatureCollection", features: [] };
const MOST_SCENES = 24; // pictures kept
const MOST_LABELS = 600; // small images of text kept
const ASKED = "#00b4dc";
const NEAR = "#f0206a";
const FAR = "#ffc46b";
const DOT = 7; // px; footprints smaller than this are drawn as dots
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const colours = () =>
  dark.matches
    ? { ground: "#0d1318", lines: "#2a3742", label: "#a3b2c0", halo: "#0d1318", tiles: "#4f8fa0", dots: "#62c4d8", cells: "#3fb0c6" }
    : { ground: "#e6edf1", lines: "#cfd9df", label: "#4c5965", halo: "#ffffff", tiles: "#2f7f92", dots: "#0f6f86", cells: "#0f6f86" };

const collection = (features) => ({ type: "FeatureCollection", features });
const feature = (geometry, properties = {}) => ({ type: "Feature", geometry, properties });

export function boundsOf(geometries) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  const visit = (part) => {
    if (typeof part[0] === "number") {
      box[0] = Math.min(box[0], part[0]);
      box[1] = Math.min(box[1], part[1]);
      box[2] = Math.max(box[2], part[0]);
      box[3] = Math.max(box[3], part[1]);
    } else part.forEach(visit);
  };
  geometries.filter(Boolean).forEach((geometry) => visit(geometry.coordinates));
  return Number.isFinite(box[0]) ? box : null;
}

// A footprint's middle, and the zoom from which it is large enough to be seen itself.
function dotOf(geometry, properties) {
  const [west, south, east, north] = boundsOf([geometry]);
  const until = Math.log2((DOT * 360) / (512 * Math.max(east - west, 1e-9)));
  return feature({ type: "Point", coordinates: [(west + east) / 2, (south + north) / 2] }, { ...properties, until });
}
const SMALL = ["<", ["zoom"], ["get", "until"]];

export function makeMap({ archive, onView }) {
  const sources = Object.fromEntries(
    ["lines", "labels", "tiles", "dots", "matches", "ranks", "examples", "example-dots", "region", "pointed", "pointed-dot"].map(
      (name) => [name, { type: "geojson", data: EMPTY }],
    ),
  );
  const layers = [
    { id: "ground", type: "background", paint: {} },
  ];
  if (archive.base_map) {
    const text = document.createElement("i");
    text.textContent = archive.attribution ?? "";
    sources.base = { type: "raster", tiles: [archive.base_map], tileSize: 256, attribution: text.innerHTML };
    layers.push({ id: "base", type: "raster", source: "base" });
  }
  layers.push(
    { id: "lines", type: "line", source: "lines", paint: { "line-width": 1 } },
    { id: "labels", type: "symbol", source: "labels", layout: { "icon-image": ["get", "image"], "icon-anchor": ["get", "anchor"] } },
    { id: "cells", type: "fill", source: "tiles", filter: ["has", "count"], paint: {} },
    { id: "tiles", type: "fill", source: "tiles", filter: ["has", "tile_id"], paint: { "fill-opacity": 0.04 } },
    { id: "tile-edges", type: "line", source: "tiles", filter: ["has", "tile_id"], paint: { "line-width": 0.8, "line-opacity": 0.75 } },
    { id: "tile-dots", type: "circle", source: "dots", filter: SMALL, paint: { "circle-radius": 3.2, "circle-opacity": 0.75, "circle-stroke-color": "#ffffff", "circle-stroke-width": 0.8, "circle-stroke-opacity": 0.7 } },
    { id: "region", type: "fill", source: "region", paint: { "fill-color": "#8a6cff", "fill-opacity": 0.08 } },
    { id: "region-edge", type: "line", source: "region", paint: { "line-color": "#8a6cff", "line-width": 2.5, "line-dasharray": [2, 1.5] } },
    { id: "matches", type: "fill", source: "matches", paint: { "fill-color": ["get", "colour"], "fill-opacity": 0.18 } },
    { id: "match-halo", type: "line", source: "matches", layout: { "line-sort-key": ["-", ["get", "rank"]] }, paint: { "line-color": "#ffffff", "line-width": 4.5, "line-opacity": 0.85 } },
    { id: "match-edges", type: "line", source: "matches", layout: { "line-sort-key": ["-", ["get", "rank"]] }, paint: { "line-color": ["get", "colour"], "line-width": 2.6 } },
    { id: "match-dots", type: "circle", source: "ranks", filter: SMALL, layout: { "circle-sort-key": ["-", ["get", "rank"]] }, paint: { "circle-radius": 7, "circle-color": ["get", "colour"], "circle-stroke-color": "#ffffff", "circle-stroke-width": 1.5 } },
    { id: "example-dots", type: "circle", source: "example-dots", filter: SMALL, paint: { "circle-radius": 11, "circle-opacity": 0, "circle-stroke-color": ["case", ["get", "good"], ASKED, "#b3263f"], "circle-stroke-width": 3.5 } },
    { id: "examples", type: "line", source: "examples", paint: { "line-color": ["case", ["get", "good"], ASKED, "#b3263f"], "line-width": 3.5 } },
    { id: "pointed", type: "line", source: "pointed", paint: { "line-color": "#ffffff", "line-width": 7, "line-opacity": 0.9 } },
    { id: "pointed-edge", type: "line", source: "pointed", paint: { "line-color": NEAR, "line-width": 4 } },
    { id: "pointed-dot", type: "circle", source: "pointed-dot", filter: SMALL, paint: { "circle-radius": 13, "circle-opacity": 0, "circle-stroke-color": NEAR, "circle-stroke-width": 4 } },
    { id: "ranks", type: "symbol", source: "ranks", layout: { "icon-image": ["concat", "rank:", ["get", "rank"]], "symbol-sort-key": ["get", "rank"], "icon-allow-overlap": false } },
  );
  const map = new maplibregl.Map({
    container: "map",
    style: { version: 8, sources, layers },
    bounds: archive.bounds ?? [-170, -60, 170, 75],
    fitBoundsOptions: { padding: 40, maxZoom: 17 },
    attributionControl: archive.base_map ? { compact: true } : false,
    dragRotate: false,
    pitchWithRotate: false,
    fadeDuration: 0,
    maxZoom: 22,
    locale: { "Map.Title": "Map of the archive" },
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-left");
  const loaded = new Promise((resolve) => map.once("load", resolve));
  const set = (name, data) => map.getSource(name)?.setData(data);

  function paint() {
    const { ground, lines, tiles, dots, cells } = colours();
    map.setPaintProperty("tile-dots", "circle-color", dots);
    map.setPaintProperty("ground", "background-color", ground);
    map.setPaintProperty("lines", "line-color", lines);
    map.setPaintProperty("tiles", "fill-color", tiles);
    map.setPaintProperty("tile-edges", "line-color", tiles);
    map.setPaintProperty("cells", "fill-color", cells);
  }

  // Text without fonts from elsewhere: drawn here, one small image a text.
  map.on("styleimagemissing", ({ id }) => {
    if (map.hasImage(id)) return;
    const labels = map.listImages();
    if (labels.length > MOST_LABELS) labels.forEach((old) => map.removeImage(old));
    const image = id.startsWith("rank:") ? badge(id.slice(5)) : label(id, colours());
    map.addImage(id, image, { pixelRatio: 2 });
  });

  const shown = new Map(); // scene number -> source id, the oldest first
  let imagery = true;
  async function drawScenes(view, signal) {
    const found = imagery ? await api.scenes(view, signal) : [];
    await loaded;
    if (signal.aborted) return;
    for (const scene of found) {
      const id = `scene-${scene.number}`;
      if (shown.has(scene.number)) {
        shown.delete(scene.number);
        shown.set(scene.number, id);
        continue;
      }
      const [west, south, east, north] = scene.bounds;
      map.addSource(id, { type: "image", url: api.scenePicture(scene.number), coordinates: [[west, north], [east, north], [east, south], [west, south]] });
      map.addLayer({ id, type: "raster", source: id, paint: { "raster-fade-duration": 0 } }, "labels");
      shown.set(scene.number, id);
    }
    found.forEach((scene) => map.moveLayer(`scene-${scene.number}`, "labels"));
    for (const [number, id] of shown) {
      if (shown.size <= MOST_SCENES && imagery) break;
      map.removeLayer(id);
      map.removeSource(id);
      shown.delete(number);
    }
  }

  // Whether a label of the graticule keeps clear of the rim and of what stands on the map.
  function isFree({ geometry, properties }) {
    const { x, y } = map.project(geometry.coordinates);
    const { clientWidth: width, clientHeight: height } = map.getContainer();
    if (properties.anchor === "bottom-left") return x > 130 && x < width - 60;
    return y > 110 && y < height - 40;
  }

  let looking = null;
  async function drawView() {
    looking?.abort();
    looking = new AbortController();
    const b = map.getBounds();
    const view = [b.getWest(), Math.max(b.getSouth(), -90), b.getEast(), Math.min(b.getNorth(), 90)];
    const { signal } = looking;
    try {
      const scenes = drawScenes(view, signal).catch((error) => error); // below, once the tiles stand
      const tiles = await api.tiles(view, signal);
      await loaded;
      if (signal.aborted) return;
      const { features, anchors } = graticule(view);
      set("lines", collection(features));
      set("labels", collection(anchors.filter(isFree)));
      if (tiles.kind === "counts") {
        const most = Math.max(...tiles.features.map((cell) => cell.properties.count));
        map.setPaintProperty("cells", "fill-opacity", ["interpolate", ["linear"], ["ln", ["get", "count"]], 0, 0.18, Math.log(most + 1), 0.8]);
      }
      set("tiles", tiles);
      set("dots", collection(tiles.kind === "footprints" ? tiles.features.map((one) => dotOf(one.geometry, one.properties)) : []));
      onView(tiles);
      const failure = await scenes;
      if (failure) throw failure;
    } catch (error) {
      if (error.name !== "AbortError") onView(null, error);
    }
  }

  let waiting = 0;
  map.on("moveend", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawView, 120);
  });
  loaded.then(paint);
  drawView(); // asks while the map is still being set up
  dark.addEventListener("change", () => {
    map.listImages().forEach((id) => map.removeImage(id));
    paint();
    drawView();
  });

  return {
    map,
    showMatches(features) {
      const far = Math.max(1, ...features.map((one) => one.properties.distance));
      const near = Math.min(far, ...features.map((one) => one.properties.distance));
      const drawn = features.filter((one) => one.geometry).map((one) => {
        const t = far > near ? (one.properties.distance - near) / (far - near) : 0;
        return feature(one.geometry, { rank: one.properties.rank, tile_id: one.properties.tile_id, colour: blend(NEAR, FAR, t) });
      });
      set("matches", collection(drawn));
      set("ranks", collection(drawn.map((one) => dotOf(one.geometry, one.properties))));
    },
    showExamples(good, bad) {
      const drawn = [...bad.map((g) => feature(g, { good: false })), ...good.map((g) => feature(g, { good: true }))];
      set("examples", collection(drawn));
      set("example-dots", collection(drawn.map((one) => dotOf(one.geometry, one.properties))));
    },
    showRegion: (geometry) => set("region", geometry ? collection([feature(geometry)]) : EMPTY),
    point(geometry) {
      set("pointed", geometry ? collection([feature(geometry)]) : EMPTY);
      set("pointed-dot", geometry ? collection([dotOf(geometry)]) : EMPTY);
    },
    // The tile or match under a point of the screen, or near it where it is but a dot.
    under({ x, y }) {
      const at = (reach, names) => map.queryRenderedFeatures([[x - reach, y - reach], [x + reach, y + reach]], { layers: names });
      const dot = at(DOT, ["match-dots", "tile-dots"])[0];
      return dot ?? at(0, ["matches", "tiles"])[0];
    },
    fit(geometries, { maxZoom = 15 } = {}) {
      const box = boundsOf(geometries);
      if (box) map.fitBounds(box, { padding: 70, maxZoom, animate: !still.matches, duration: 600 });
    },
    whole: () => archive.bounds && map.fitBounds(archive.bounds, { padding: 40, maxZoom: 17, animate: !still.matches }),
    setImagery(on) {
      imagery = on;
      drawView();
    },
    redraw: drawView,
  };
}

function blend(a, b, t) {
  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [from, to] = [parts(a), parts(b)];
  return `#${from.map((value, i) => Math.round(value + (to[i] - value) * t).toString(16).padStart(2, "0")).join("")}`;
}

function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made.getContext("2d", { willReadFrequently: true });
}

function badge(text) {
  const width = 22 + 14 * text.length;
  const c = canvas(width, 38);
  c.fillStyle = "#c3174b";
  c.strokeStyle = "#ffffff";
  c.lineWidth = 3;
  c.beginPath();
  c.roundRect(2, 2, width - 4, 34, 17);
  c.fill();
  c.stroke();
  c.fillStyle = "#ffffff";
  c.font = "bold 24px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, width / 2, 20);
  return c.getImageData(0, 0, width, 38);
}

function label(text, { label: ink, halo }) {
  const font = "21px system-ui, sans-serif";
  const measure = canvas(1, 1);
  measure.font = font;
  const width = Math.ceil(measure.measureText(text).width) + 16;
  const c = canvas(width, 34);
  c.font = font;
  c.textBaseline = "middle";
  c.lineJoin = "round";
  c.lineWidth = 6;
  c.globalAlpha = 0.75;
  c.strokeStyle = halo;
  c.strokeText(text, 8, 17);
  c.globalAlpha = 1;
  c.fillStyle = ink;
  c.fillText(text, 8, 17);
  return c.getImageData(0, 0, width, 34);
}

const STEPS = [45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

function graticule([west, south, east, north]) {
  const step = STEPS.find((one) => (east - west) / one >= 4) ?? 0.001;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const features = [];
  const anchors = [];
  const text = (value, plus, minus) => `${Math.abs(value).toFixed(digits)}°${value > 0 ? plus : value < 0 ? minus : ""}`;
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
