// The map's tools: pick or add a tile, draw a box or a polygon.
import * as api from "./api.js";
import { boundsOf, middleOf } from "./bounds.js";
import { isOpen } from "./concept.js";
import { shown } from "./dates.js";
import { drawBox, drawPolygon } from "./draw.js";
import { judgeThis } from "./judge.js";
import { $, keepFocus, say } from "./page.js";
import { normal } from "./region.js";
import { change, useTile } from "./search.js";
import { known, places, state } from "./session.js";
import { look } from "./steps.js";

const HINTS = {
  pick: "",
  add: "Click tiles to add as examples.",
  box: "Drag a box.",
  polygon: "Click the corners, then the first again.",
};
const AFTER = 400; // ms after a drawing in which its last click must not pick a tile
let tool = "pick";
let drawing = null;
let ended = -Infinity;

const useTool = (name) => keepFocus(() => showTool(name), "tool-pick");

function showTool(name) {
  const started = drawing;
  drawing = null;
  started?.cancel();
  tool = name;
  for (const one of Object.keys(HINTS)) $(`tool-${one}`).setAttribute("aria-pressed", String(one === name));
  const draws = name === "box" || name === "polygon";
  $("hint").classList.toggle("unseen", !HINTS[name]);
  $("hint-text").textContent = HINTS[name];
  $("draw-finish").hidden = name !== "polygon";
  $("draw-finish").disabled = true;
  $("draw-cancel").hidden = !draws;
  if (!draws) return;
  const draw = name === "box" ? drawBox : drawPolygon;
  drawing = draw(known.view.map, {
    show(geometry, corners = []) {
      known.view.showRegion(geometry ?? state.region, corners);
      $("draw-finish").disabled = corners.length < 3;
    },
    done(geometry) {
      if (!drawing) return known.view.showRegion(state.region);
      drawing = null;
      ended = performance.now();
      useTool("pick");
      if (geometry) change(() => (state.region = normal(geometry)));
      else known.view.showRegion(state.region);
    },
  });
}

function pick({ point, lngLat, originalEvent }) {
  if (drawing || performance.now() - ended < AFTER) return;
  const more = originalEvent.shiftKey || tool === "add";
  const under = known.view.under(point);
  if (isOpen() && !more) judgeAt(under, lngLat);
  else useSeen(under, lngLat, { more });
}

const isMatch = (under) => under?.layer.id.startsWith("match");

// The tile that a click takes, as it is seen: a dot is the tile itself, and so is a match, unless it
// lies under smaller or later tiles. Among all others there, the server chooses.
async function tileSeen(under, { lng, lat }) {
  const id = under?.properties.tile_id;
  const isDot = under?.geometry.type === "Point";
  if (isDot && !isMatch(under)) return api.tile(id);
  if (!isMatch(under)) return api.tileAt(lng, lat, shown());
  const at = isDot && places.has(id) ? middleOf(boundsOf([places.get(id)])) : [lng, lat];
  const { features } = await api.tilesAt(...at, shown());
  const [top] = features;
  const layer = ({ properties: { datetime, width } }) => `${datetime} ${width}`;
  return features.find((one) => one.properties.tile_id === id && layer(one) === layer(top)) ?? top;
}

async function useSeen(under, lngLat, { more }) {
  try {
    await useTile((await tileSeen(under, lngLat)).properties.tile_id, { more });
  } catch (error) {
    say(error.message);
  }
}

// While a concept is mapped, a click judges a tile: another search would replace the marks.
async function judgeAt(under, lngLat) {
  say();
  try {
    judgeThis(await tileSeen(under, lngLat));
  } catch (error) {
    say(error.message);
  }
}

function point({ point: at }) {
  if (drawing) return;
  const over = known.view.under(at);
  known.view.map.getCanvas().style.cursor = over ? "pointer" : "";
  const id = over?.layer.id.startsWith("match") ? over.properties.tile_id : null;
  for (const item of $("cards").children) item.classList.toggle("pointed", Number(item.dataset.tile) === id);
}

export function wireTools() {
  known.view.map.on("click", pick);
  known.view.map.on("mousemove", point);
  for (const name of Object.keys(HINTS)) $(`tool-${name}`).addEventListener("click", () => useTool(name));
  $("tool-whole").addEventListener("click", () => look(known.view.whole));
  $("draw-finish").addEventListener("click", () => drawing?.finish());
  $("draw-cancel").addEventListener("click", () => useTool("pick"));
  document.addEventListener("keydown", (event) => {
    if (!drawing) return;
    if (event.key === "Escape") useTool("pick");
    if (event.key === "Enter" && !event.target.closest("button")) drawing.finish();
  });
}
