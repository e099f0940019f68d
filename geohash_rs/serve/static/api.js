// Call the server; every failure becomes an Error with the server's message.

async function answerOf(response) {
  if (response.ok) return response;
  let detail = `the server answered ${response.status}`;
  try {
    detail = (await response.json()).detail ?? detail;
  } catch { /* not JSON: keep the status */ }
  throw new Error(detail);
}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is geohash-rs serve still running?");
  }
  return answerOf(response);
}

const post = (url, value, signal) =>
  ask(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value), signal });
const get = async (url, signal) => (await ask(url, { signal })).json();
const bboxText = (bounds) => bounds.map((value) => value.toFixed(6)).join(",");

let key = "";

export const archive = async () => {
  const found = await get("/api/archive");
  key = found.key;
  return found;
};
// What the map shows, as further parameters.
const limits = (shown) => Object.entries(shown).map(([name, value]) => (value === null ? "" : `&${name}=${encodeURIComponent(value)}`)).join("");
export const tiles = (bounds, shown, signal) => get(`/api/tiles?bbox=${bboxText(bounds)}${limits(shown)}`, signal);
export const scenes = (bounds, shown, signal) => get(`/api/scenes?bbox=${bboxText(bounds)}${limits(shown)}`, signal);
export const sceneList = (text, start, signal) => get(`/api/scene-list?text=${encodeURIComponent(text)}&start=${start}`, signal);
export const world = async () => (await ask("/static/world_lines.gz")).body;
export const tile = (id) => get(`/api/tile/${encodeURIComponent(id)}`);
export const tileAt = (lon, lat, shown) => get(`/api/tile-at?lon=${lon}&lat=${lat}${limits(shown)}`);
export const tilesAt = (lon, lat, shown) => get(`/api/tiles-at?lon=${lon}&lat=${lat}${limits(shown)}`);
export const search = async (request, signal) => (await post("/api/search", request, signal)).json();
export const exportKept = async (request) => (await post("/api/export", request)).blob();
export const thumbnail = (id, size = 192) => `/api/thumbnail/${id}.webp?size=${size}&v=${key}`;
export const scenePicture = (number) => `/api/scene/${number}.webp?v=${key}`;
export const patch = async (file, size) => {
  const headers = { "content-type": "image/tiff", "x-file-name": encodeURIComponent(file.name) };
  return (await ask(`/api/patch${size === null ? "" : `?tile_size=${size}`}`, { method: "POST", headers, body: file })).json();
};
export const learn = async (request, signal) => (await post("/api/concept", request, signal)).json();
export const tilesToJudge = async (request, signal) => (await post("/api/concept/tiles", request, signal)).json();
export const areas = async (request, bounds, signal) =>
  (await post("/api/concept/areas", { ...request, view: bounds && bboxText(bounds) }, signal)).json();
export const exportAreas = async (request) => (await post("/api/concept/export", request)).blob();
export const saveConcept = async (request) => (await post("/api/concept/save", request)).blob();
export const openConcept = async (text) =>
  (await ask("/api/concept/open", { method: "POST", headers: { "content-type": "application/json" }, body: text })).json();
