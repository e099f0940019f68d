// The map: scenes, footprints in view, matches, examples and the region; no built-in base map.
import * as api from "./api.js";
import { boundsOf, middleOf } from "./bounds.js";
import { isShown, shown } from "./dates.js";
import { graticule } from "./graticule.js";
import { badge, label } from "./labels.js";
import { EMPTY, FAR, FOOTPRINTS, MATCH_LAYERS, NEAR, styleOf, TILE_LAYERS, WORLD_ENDS } from "./layers.js";
import { readWorld } from "./world.js";

const MOST_SCENES = 24; // pictures to keep
const MOST_LABELS = 600; // label images to keep
const DOT = 7; // px; footprints smaller than this are drawn as dots
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const colours = () =>
  dark.matches
    ? { ground: "#0d1318", lines: "#2a3742", world: "#7d8e9c", label: "#a3b2c0", halo: "#0d1318", tiles: "#4f8fa0", dots: "#62c4d8", cells: "#3fb0c6" }
    : { ground: "#e6edf1", lines: "#cfd9df", world: "#7a8a96", label: "#4c5965", halo: "#ffffff", tiles: "#2f7f92", dots: "#0f6f86", cells: "#0f6f86" };

const collection = (features) => ({ type: "FeatureCollection", features });
const feature = (geometry, properties = {}) => ({ type: "Feature", geometry, properties });

function viewOf(map) {
  const b = map.getBounds();
  return [b.getWest(), Math.max(b.getSouth(), -90), b.getEast(), Math.min(b.getNorth(), 90)];
}

// A footprint's centre, and the zoom from which the footprint itself is drawn instead of a dot.
function dotOf(geometry, properties) {
  const box = boundsOf([geometry]);
  const until = Math.log2((DOT * 360) / (512 * Math.max(box[2] - box[0], 1e-9)));
  return feature({ type: "Point", coordinates: middleOf(box) }, { ...properties, until });
}

export function makeMap({ archive, onView }) {
  const { sources, layers } = styleOf(archive);
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
  // Resolves once the sources exist: "load" would wait for every tile of a slow base map.
  const loaded = new Promise((resolve) => map.once("style.load", resolve));
  const set = (name, data) => map.getSource(name)?.setData(data);

  function paint() {
    const { ground, lines, world, tiles, dots, cells } = colours();
    map.setPaintProperty("tile-dots", "circle-color", dots);
    map.setPaintProperty("ground", "background-color", ground);
    map.setPaintProperty("lines", "line-color", lines);
    for (const name of ["coasts", "borders"]) map.setPaintProperty(name, "line-color", world);
    map.setPaintProperty("tiles", "fill-color", tiles);
    map.setPaintProperty("tile-edges", "line-color", tiles);
    map.setPaintProperty("cells", "fill-color", cells);
  }

  // Labels without external fonts: one small image per text.
  map.on("styleimagemissing", ({ id }) => {
    if (map.hasImage(id)) return;
    const labels = map.listImages();
    if (labels.length > MOST_LABELS) labels.forEach((old) => map.removeImage(old));
    const image = id.startsWith("rank:") ? badge(id.slice(5)) : label(id, colours());
    map.addImage(id, image, { pixelRatio: 2 });
  });

  const pictures = new Map(); // scene number -> source id, the oldest first
  const scenery = { on: true, opacity: 1 };
  const footprints = { on: true, opacity: 1, most: 1 }; // most tiles in a square
  async function drawScenes(view, wanted, signal) {
    const found = scenery.on ? await api.scenes(view, wanted, signal) : [];
    await loaded;
    if (signal.aborted) return;
    for (const scene of found) {
      const id = `scene-${scene.number}`;
      if (pictures.has(scene.number)) {
        pictures.delete(scene.number);
        pictures.set(scene.number, id);
        continue;
      }
      const [west, south, east, north] = scene.bounds;
      map.addSource(id, { type: "image", url: api.scenePicture(scene.number), coordinates: [[west, north], [east, north], [east, south], [west, south]] });
      map.addLayer({ id, type: "raster", source: id, paint: { "raster-fade-duration": 0, "raster-opacity": scenery.opacity } }, "cells");
      pictures.set(scene.number, id);
    }
    found.forEach((scene) => map.moveLayer(`scene-${scene.number}`, "cells"));
    // Those of other dates would be seen through the gaps of these.
    const drawn = new Set(found.map((scene) => scene.number));
    for (const [number, id] of pictures) map.setLayoutProperty(id, "visibility", drawn.has(number) ? "visible" : "none");
    for (const [number, id] of pictures) {
      if (pictures.size <= MOST_SCENES && scenery.on) break;
      map.removeLayer(id);
      map.removeSource(id);
      pictures.delete(number);
    }
  }

  function drawFootprints() {
    for (const [name, property, opacity] of FOOTPRINTS) map.setPaintProperty(name, property, opacity * footprints.opacity);
    const [least, most] = [0.18, 0.8].map((opacity) => opacity * footprints.opacity);
    map.setPaintProperty("cells", "fill-opacity", ["interpolate", ["linear"], ["ln", ["get", "count"]], 0, least, Math.log(footprints.most + 1), most]);
    for (const name of TILE_LAYERS) map.setLayoutProperty(name, "visibility", footprints.on ? "visible" : "none");
  }

  let world = false; // whether coastlines and borders are loaded
  // The legend has a line for them while they are drawn.
  const tellWorld = () => document.body.toggleAttribute("data-world", world && map.getZoom() < WORLD_ENDS);

  // After all else, and only where no base map shows them better.
  async function drawWorld() {
    try {
      set("world", await readWorld(await api.world()));
    } catch {
      return; // a decoration: the map serves without it, and the legend has no line for it
    }
    world = true;
    tellWorld();
  }

  // Whether a graticule label is clear of the map's edge and controls.
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
    const view = viewOf(map);
    const wanted = shown();
    const { signal } = looking;
    try {
      const scenes = drawScenes(view, wanted, signal).catch((error) => error); // rethrown below, after the tiles are drawn
      const tiles = await api.tiles(view, wanted, signal);
      await loaded;
      if (signal.aborted) return;
      const { features, anchors } = graticule(view);
      set("lines", collection(features));
      set("labels", collection(anchors.filter(isFree)));
      if (tiles.kind === "counts") {
        footprints.most = Math.max(...tiles.features.map((cell) => cell.properties.count));
        drawFootprints();
      }
      set("tiles", tiles);
      set("dots", collection(tiles.kind === "footprints" ? tiles.features.map((one) => dotOf(one.geometry, one.properties)) : []));
      tellWorld();
      onView(tiles, wanted);
      const failure = await scenes;
      if (failure) throw failure;
    } catch (error) {
      if (error.name !== "AbortError") onView(null, wanted, error);
    }
  }

  let waiting = 0;
  map.on("moveend", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawView, 120);
  });
  loaded.then(paint);
  map.on("click", () => set("place", EMPTY));
  if (!archive.base_map) map.once("idle", drawWorld);
  drawView(); // requests data while the map is still being set up
  dark.addEventListener("change", () => {
    map.listImages().forEach((id) => map.removeImage(id));
    paint();
    drawView();
  });

  return {
    map,
    ready: loaded,
    showMatches(features) {
      const far = Math.max(1, ...features.map((one) => one.properties.distance));
      const near = Math.min(far, ...features.map((one) => one.properties.distance));
      const drawn = features.filter((one) => one.geometry).map((one) => {
        const t = far > near ? (one.properties.distance - near) / (far - near) : 0;
        return feature(one.geometry, { rank: one.properties.rank, tile_id: one.properties.tile_id, away: !isShown(one.properties), colour: blend(NEAR, FAR, t) });
      });
      set("matches", collection(drawn));
      set("ranks", collection(drawn.map((one) => dotOf(one.geometry, one.properties))));
    },
    showExamples(good, bad) {
      const features = (found, properties) => found.filter((one) => one?.coordinates).map((one) => feature(one, properties));
      const drawn = [...features(bad, { good: false }), ...features(good, { good: true })];
      set("examples", collection(drawn));
      set("example-dots", collection(drawn.map((one) => dotOf(one.geometry, one.properties))));
    },
    // Corners are passed while a polygon is being drawn.
    showRegion(geometry, corners = []) {
      const points = corners.map((corner) => feature({ type: "Point", coordinates: corner }));
      set("region", collection(geometry ? [feature(geometry), ...points] : points));
    },
    // Areas as polygons, or, if they are too many, as squares with the number of their tiles.
    showAreas(found) {
      if (!map.getSource("areas")) return; // the map is still being set up
      if (found?.kind === "counts") {
        const most = Math.max(...found.features.map((cell) => cell.properties.count), 1);
        map.setPaintProperty("area-cells", "fill-opacity", ["interpolate", ["linear"], ["ln", ["get", "count"]], 0, 0.3, Math.log(most + 1), 0.85]);
      }
      set("areas", found ?? EMPTY);
      // Matches would cover the areas.
      for (const name of MATCH_LAYERS) map.setLayoutProperty(name, "visibility", found ? "none" : "visible");
    },
    bounds: () => viewOf(map),
    redraw: drawView,
    point(geometry) {
      set("pointed", geometry ? collection([feature(geometry)]) : EMPTY);
      set("pointed-dot", geometry ? collection([dotOf(geometry)]) : EMPTY);
    },
    // The tile or match at a point of the screen, or near it if it is drawn as a dot.
    under({ x, y }) {
      const at = (reach, names) => map.queryRenderedFeatures([[x - reach, y - reach], [x + reach, y + reach]], { layers: names }).filter((one) => !one.properties.away);
      const dot = at(DOT, ["match-dots", "tile-dots"])[0];
      return dot ?? at(0, ["matches", "tiles"])[0];
    },
    // With `around`, the surroundings take that share of the view on each side.
    fit(geometries, { maxZoom = 15, around = 0 } = {}) {
      const box = boundsOf(geometries);
      const { clientWidth: width, clientHeight: height } = map.getContainer();
      const padding = around ? around * Math.min(width, height) : 70;
      if (box) map.fitBounds(box, { padding, maxZoom, animate: !still.matches, duration: 600 });
    },
    goTo({ lat, lng }) {
      set("place", collection([feature({ type: "Point", coordinates: [lng, lat] })]));
      map.easeTo({ center: [lng, lat], zoom: Math.min(15, Math.max(9, map.getZoom())), animate: !still.matches });
    },
    // Return to a former view.
    show(former) {
      set("place", EMPTY);
      map.jumpTo(former);
    },
    whole: () => archive.bounds && map.fitBounds(archive.bounds, { padding: 40, maxZoom: 17, animate: !still.matches }),
    setImagery(chosen) {
      const drawn = scenery.on;
      Object.assign(scenery, chosen);
      for (const id of pictures.values()) map.setPaintProperty(id, "raster-opacity", scenery.opacity);
      if (scenery.on !== drawn) drawView();
    },
    setFootprints(chosen) {
      Object.assign(footprints, chosen);
      drawFootprints();
    },
  };
}

// A substitute if no map can be drawn.
export function noMap() {
  const nothing = () => {};
  return { map: null, ready: null, showMatches: nothing, showExamples: nothing, showRegion: nothing, showAreas: nothing, bounds: () => null, redraw: nothing, point: nothing, fit: nothing, show: nothing, goTo: nothing };
}

function blend(a, b, t) {
  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const [from, to] = [parts(a), parts(b)];
  return `#${from.map((value, i) => Math.round(value + (to[i] - value) * t).toString(16).padStart(2, "0")).join("")}`;
}
