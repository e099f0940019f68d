// The map's sources and layers, from bottom to top.

export const EMPTY = { type: "FeatureCollection", features: [] };
const ASKED = "#00b4dc";
export const NEAR = "#f0206a";
export const FAR = "#ffc46b";
const AREA = "#ffe14a";
const AREA_EDGE = "#3d3200";
const PLACE = "#111111";
const REJECTED = "#b3263f";
export const MATCH_LAYERS = ["matches", "match-halo", "match-edges", "match-dots", "ranks"];
export const TILE_LAYERS = ["cells", "tiles", "tile-edges", "tile-dots"];
// What a footprint is drawn with, and how opaque each is unless the user says otherwise.
export const FOOTPRINTS = [["tiles", "fill-opacity", 0.04], ["tile-edges", "line-opacity", 0.75], ["tile-dots", "circle-opacity", 0.75], ["tile-dots", "circle-stroke-opacity", 0.7]];
export const WORLD_ENDS = 10; // zoom; lines that may lie 5 km away would mislead from here on
const fading = { "line-opacity": ["interpolate", ["linear"], ["zoom"], WORLD_ENDS - 1.5, 1, WORLD_ENDS, 0] };
const fade = (opacity, away) => ["case", ["get", "away"], away, opacity]; // of dates that are not shown
const SMALL = ["<", ["zoom"], ["get", "until"]]; // so small that a dot is drawn

export function styleOf(archive) {
  const sources = Object.fromEntries(
    ["lines", "world", "labels", "tiles", "dots", "areas", "matches", "ranks", "examples", "example-dots", "region", "pointed", "pointed-dot", "place"].map(
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
    { id: "coasts", type: "line", source: "world", maxzoom: WORLD_ENDS, filter: ["!", ["get", "border"]], paint: { "line-width": 1.1, ...fading } },
    { id: "borders", type: "line", source: "world", maxzoom: WORLD_ENDS, filter: ["get", "border"], paint: { "line-width": 0.9, "line-dasharray": [4, 2], ...fading } },
    { id: "cells", type: "fill", source: "tiles", filter: ["has", "count"], paint: {} },
    { id: "tiles", type: "fill", source: "tiles", filter: ["has", "tile_id"], paint: { "fill-opacity": 0.04 } },
    { id: "tile-edges", type: "line", source: "tiles", filter: ["has", "tile_id"], paint: { "line-width": 0.8, "line-opacity": 0.75 } },
    { id: "tile-dots", type: "circle", source: "dots", filter: SMALL, paint: { "circle-radius": 3.2, "circle-opacity": 0.75, "circle-stroke-color": "#ffffff", "circle-stroke-width": 0.8, "circle-stroke-opacity": 0.7 } },
    { id: "area-cells", type: "fill", source: "areas", filter: ["has", "count"], paint: { "fill-color": AREA } },
    { id: "areas", type: "fill", source: "areas", filter: ["!", ["has", "count"]], paint: { "fill-color": AREA, "fill-opacity": 0.42 } },
    { id: "area-halo", type: "line", source: "areas", filter: ["!", ["has", "count"]], paint: { "line-color": AREA_EDGE, "line-width": 3 } },
    { id: "area-edges", type: "line", source: "areas", filter: ["!", ["has", "count"]], paint: { "line-color": AREA, "line-width": 1.6 } },
    { id: "region", type: "fill", source: "region", filter: ["!=", ["geometry-type"], "Point"], paint: { "fill-color": "#8a6cff", "fill-opacity": 0.08 } },
    { id: "region-edge", type: "line", source: "region", filter: ["!=", ["geometry-type"], "Point"], paint: { "line-color": "#8a6cff", "line-width": 2.5, "line-dasharray": [2, 1.5] } },
    { id: "region-corners", type: "circle", source: "region", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": 6, "circle-color": "#ffffff", "circle-stroke-color": "#8a6cff", "circle-stroke-width": 2.5 } },
    { id: "labels", type: "symbol", source: "labels", layout: { "icon-image": ["get", "image"], "icon-anchor": ["get", "anchor"] } },
    { id: "matches", type: "fill", source: "matches", layout: { "fill-sort-key": ["-", ["get", "rank"]] }, paint: { "fill-color": ["get", "colour"], "fill-opacity": fade(0.18, 0) } },
    { id: "match-halo", type: "line", source: "matches", layout: { "line-sort-key": ["-", ["get", "rank"]] }, paint: { "line-color": "#ffffff", "line-width": 4.5, "line-opacity": fade(0.85, 0) } },
    { id: "match-edges", type: "line", source: "matches", layout: { "line-sort-key": ["-", ["get", "rank"]] }, paint: { "line-color": ["get", "colour"], "line-width": 2.6, "line-opacity": fade(1, 0.45) } },
    { id: "match-dots", type: "circle", source: "ranks", filter: SMALL, layout: { "circle-sort-key": ["-", ["get", "rank"]] }, paint: { "circle-radius": 7, "circle-color": ["get", "colour"], "circle-opacity": fade(1, 0.35), "circle-stroke-color": "#ffffff", "circle-stroke-width": 1.5, "circle-stroke-opacity": fade(1, 0.35) } },
    { id: "example-dots", type: "circle", source: "example-dots", filter: SMALL, paint: { "circle-radius": 11, "circle-opacity": 0, "circle-stroke-color": ["case", ["get", "good"], ASKED, REJECTED], "circle-stroke-width": 3.5 } },
    { id: "examples", type: "line", source: "examples", paint: { "line-color": ["case", ["get", "good"], ASKED, REJECTED], "line-width": 3.5 } },
    { id: "pointed", type: "line", source: "pointed", paint: { "line-color": "#ffffff", "line-width": 7, "line-opacity": 0.9 } },
    { id: "pointed-edge", type: "line", source: "pointed", paint: { "line-color": NEAR, "line-width": 4 } },
    { id: "pointed-dot", type: "circle", source: "pointed-dot", filter: SMALL, paint: { "circle-radius": 13, "circle-opacity": 0, "circle-stroke-color": NEAR, "circle-stroke-width": 4 } },
    { id: "place", type: "circle", source: "place", paint: { "circle-radius": 7, "circle-color": "#ffffff", "circle-opacity": 0.35, "circle-stroke-color": PLACE, "circle-stroke-width": 3 } },
    { id: "ranks", type: "symbol", source: "ranks", layout: { "icon-image": ["concat", "rank:", ["get", "rank"]], "symbol-sort-key": ["get", "rank"], "icon-allow-overlap": false }, paint: { "icon-opacity": fade(1, 0.4) } },
  );
  return { sources, layers };
}
