// The search: what is asked, what was found, what is kept. The address holds all that is asked.
import * as api from "./api.js";
import { card, example, mark } from "./cards.js";
import { drawBox, drawPolygon } from "./draw.js";
import * as link from "./link.js";
import { makeMap } from "./map.js";

const $ = (id) => document.getElementById(id);
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const PATCH_ICON = "/static/icon.svg";

const state = { ...link.read(""), matches: [], asked: "", kept: new Map() };
const places = new Map(); // tile id -> footprint, of examples and matches
let archive;
let view;
let drawing = null;
let searching = null;

// ---- what the page shows ----

function say(message) {
  $("problem").textContent = message ?? "";
  $("problem").hidden = !message;
  if (message) $("problem").scrollIntoView({ block: "nearest" });
}

const tileIds = () => state.examples.filter((one) => one.id !== undefined).map((one) => one.id);

function showAsked() {
  const chips = state.examples.map((one) =>
    example({
      source: one.codes ? (one.picture ?? PATCH_ICON) : api.thumbnail(one.id, 96),
      text: one.codes ? one.name : `tile ${one.id}`,
      removeText: `Remove ${one.codes ? one.name : `tile ${one.id}`} from the examples`,
      onRemove: () => change(() => (state.examples = state.examples.filter((other) => other !== one))),
    }));
  $("examples").replaceChildren(...chips);
  $("negatives").replaceChildren(...state.negatives.map((id) =>
    example({
      source: api.thumbnail(id, 96),
      text: `tile ${id}`,
      removeText: `Take tile ${id} back`,
      onRemove: () => change(() => (state.negatives = state.negatives.filter((other) => other !== id))),
    })));
  const any = state.examples.length > 0;
  $("start").hidden = any;
  $("clear").hidden = !any && !state.negatives.length;
  $("negatives-part").hidden = !state.negatives.length;
  const stale = any && state.matches.length > 0 && link.write(state) !== state.asked;
  $("ask-again").hidden = !stale;
  $("again-note").textContent = `with ${plural(state.examples.length, "good", "good")}${state.negatives.length ? ` and ${state.negatives.length} bad` : ""}`;
  const good = state.examples.map((one) => (one.codes ? one.place : places.get(one.id)));
  view?.showExamples(good.filter(Boolean), state.negatives.map((id) => places.get(id)).filter(Boolean));
}

function showMarks() {
  const good = new Set(tileIds());
  const bad = new Set(state.negatives);
  for (const item of $("cards").children) {
    const id = Number(item.dataset.tile);
    mark(item, { good: good.has(id), bad: bad.has(id), kept: state.kept.has(id) });
  }
}

function showKept() {
  $("kept").hidden = !state.kept.size;
  $("kept-title").textContent = `${plural(state.kept.size, "tile")} kept`;
}

function showFilters() {
  $("radius").value = state.radius ?? archive.num_bits;
  $("radius-out").textContent = state.radius === null ? "any distance" : `≤ ${plural(state.radius, "bit")}`;
  $("k").value = String(state.k);
  if ($("k").value !== String(state.k)) {
    $("k").append(new Option(state.k, state.k));
    $("k").value = String(state.k);
  }
  $("from").value = state.from;
  $("to").value = state.to;
  $("exclude").checked = state.exclude;
  $("distinct").checked = state.distinct;
  $("region-clear").disabled = !state.region;
  const set = [state.region && "a region", (state.from || state.to) && "a time", state.radius !== null && "a radius"].filter(Boolean);
  $("filters-note").textContent = set.length ? `${set.join(", ")} set` : "";
  view?.showRegion(state.region);
}

function showMatches(took) {
  const found = state.matches;
  const settings = {
    numBits: archive.num_bits,
    on: { show: (m) => view.fit([m.geometry]), point: (m) => view.point(m?.geometry), up: (m) => judge(m, true), down: (m) => judge(m, false), keep },
  };
  $("cards").replaceChildren(...found.map((match) => card(match, settings)));
  view.showMatches(found);
  view.point(null);
  $("keep-all").hidden = !found.length;
  const none = state.examples.length ? "None: widen the region, time or distance." : "";
  $("results-note").textContent = found.length ? `${found.length} in ${Math.round(took)} ms` : none;
  $("nothing-yet").hidden = state.examples.length > 0;
  $("copy-link").hidden = !state.examples.length;
  showMarks();
}

// ---- what a person does ----

function judge(match, isGood) {
  const id = match.properties.tile_id;
  places.set(id, match.geometry);
  const good = tileIds().includes(id);
  const bad = state.negatives.includes(id);
  state.examples = state.examples.filter((one) => one.id !== id);
  state.negatives = state.negatives.filter((other) => other !== id);
  if (isGood && !good) state.examples.push({ id });
  if (!isGood && !bad) state.negatives.push(id);
  showAsked();
  showMarks();
}

function keep(match) {
  const id = match.properties.tile_id;
  if (!state.kept.delete(id)) state.kept.set(id, match.properties);
  showKept();
  showMarks();
}

function change(apply) {
  apply();
  showAsked();
  showFilters();
  return search();
}

const startWith = (one) => change(() => {
  state.examples = [one];
  state.negatives = [];
});

async function search({ fit = false } = {}) {
  const asked = link.write(state);
  history.replaceState(null, "", asked ? `#${asked}` : location.pathname);
  searching?.abort();
  searching = new AbortController();
  say();
  if (!state.examples.length) {
    state.matches = [];
    state.asked = asked;
    showAsked();
    showMatches(0);
    return;
  }
  $("results").setAttribute("aria-busy", "true");
  const patch = state.examples.find((one) => one.codes);
  const before = performance.now();
  try {
    const found = await api.search({
      tiles: tileIds(),
      codes: patch?.codes ?? [],
      place: patch?.place ?? null,
      negatives: state.negatives,
      k: state.k,
      max_distance: state.radius,
      region: state.region,
      time: state.from || state.to ? [state.from || null, state.to || null] : null,
      exclude_overlap: state.exclude,
      distinct: state.distinct,
    }, searching.signal);
    state.matches = found.features;
    state.asked = asked;
    for (const match of found.features) places.set(match.properties.tile_id, match.geometry);
    await knowPlaces();
    showAsked();
    showMatches(performance.now() - before);
    if (fit) view.fit([...state.matches.map((one) => one.geometry), patch?.place]);
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error.message);
    $("results-note").textContent = "";
  }
  $("results").setAttribute("aria-busy", "false");
}

async function knowPlaces() {
  const unknown = [...tileIds(), ...state.negatives].filter((id) => !places.has(id));
  const found = await Promise.all(unknown.map(api.tile));
  for (const one of found) places.set(one.properties.tile_id, one.geometry);
  if (places.size > 5000) places.clear();
}

async function pick(point, { more = false } = {}) {
  try {
    const tile = await api.tileAt(point.lng, point.lat);
    places.set(tile.properties.tile_id, tile.geometry);
    await choose(tile.properties.tile_id, { more });
  } catch (error) {
    say(error.message);
  }
}

async function choose(id, { more = false } = {}) {
  if (!more) await startWith({ id });
  else if (!tileIds().includes(id)) await change(() => state.examples.push({ id }));
}

async function dropFile(file) {
  say();
  if (!archive.takes_patches) {
    say("This archive holds codes made elsewhere and no hasher, so it cannot look at a GeoTIFF; click a tile instead.");
    return;
  }
  $("results-note").textContent = `looking at ${file.name} …`;
  try {
    const patch = await api.patch(file);
    state.examples = [patch];
    state.negatives = [];
    showAsked();
    await search({ fit: true });
  } catch (error) {
    $("results-note").textContent = "";
    say(error.message);
  }
}

// ---- drawing a region ----

function useTool(name) {
  const started = drawing;
  drawing = null;
  started?.cancel();
  for (const tool of ["pick", "box", "polygon"]) $(`tool-${tool}`).setAttribute("aria-pressed", String(tool === name));
  const hints = { pick: "", box: "Drag a box. Escape cancels.", polygon: "Click the corners, double-click the last. Enter closes, Escape cancels." };
  $("hint").textContent = hints[name];
  if (name === "pick") return;
  const draw = name === "box" ? drawBox : drawPolygon;
  drawing = draw(view.map, {
    show: (geometry) => view.showRegion(geometry),
    done: (geometry) => {
      if (!drawing) return view.showRegion(state.region);
      drawing = null;
      useTool("pick");
      if (geometry) change(() => (state.region = normal(geometry)));
      else view.showRegion(state.region);
    },
  });
}

// A map turned round the globe has longitudes beyond 180; the server takes up to 360.
function normal(geometry) {
  const ring = geometry.coordinates[0];
  const turns = 360 * Math.floor((Math.min(...ring.map(([x]) => x)) + 180) / 360);
  return { type: "Polygon", coordinates: [ring.map(([x, y]) => [+(x - turns).toFixed(6), +Math.max(-90, Math.min(90, y)).toFixed(6)])] };
}

function viewRegion() {
  const b = view.map.getBounds();
  const [w, s, e, n] = [b.getWest(), b.getSouth(), b.getEast(), b.getNorth()];
  return e - w >= 360 ? null : normal({ coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] });
}

// ---- wiring ----

function wireMap() {
  view.map.on("click", (event) => {
    if (drawing) return;
    const more = event.originalEvent.shiftKey;
    const small = view.under(event.point);
    if (small?.geometry.type === "Point") choose(small.properties.tile_id, { more });
    else pick(event.lngLat, { more });
  });
  view.map.on("mousemove", (event) => {
    if (drawing) return;
    const over = view.under(event.point);
    view.map.getCanvas().style.cursor = over ? "pointer" : "";
    const id = over?.layer.id.startsWith("match") ? over.properties.tile_id : null;
    for (const item of $("cards").children) item.classList.toggle("pointed", Number(item.dataset.tile) === id);
  });
  for (const tool of ["pick", "box", "polygon"]) $(`tool-${tool}`).addEventListener("click", () => useTool(tool));
  $("tool-imagery").addEventListener("click", () => {
    const on = $("tool-imagery").getAttribute("aria-pressed") !== "true";
    $("tool-imagery").setAttribute("aria-pressed", String(on));
    view.setImagery(on);
  });
  $("tool-whole").addEventListener("click", () => view.whole());
  document.addEventListener("keydown", (event) => {
    if (!drawing) return;
    if (event.key === "Escape") useTool("pick");
    if (event.key === "Enter") drawing.finish();
  });
}

function wireSearch() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) dropFile($("file").files[0]);
    $("file").value = "";
  });
  $("centre").addEventListener("click", () => pick(view.map.getCenter()));
  $("again").addEventListener("click", () => search());
  $("clear").addEventListener("click", () => change(() => {
    state.examples = [];
    state.negatives = [];
  }));
  $("go-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const parts = $("go").value.trim().split(/[\s,;]+/).map(Number);
    if (parts.some((value) => !Number.isFinite(value)) || parts.length > 2) {
      say(`“${$("go").value}” is neither a tile id nor a longitude and a latitude.`);
    } else if (parts.length === 2) {
      pick({ lng: parts[0], lat: parts[1] });
    } else {
      startWith({ id: parts[0] }).then(() => view.fit(state.matches.length ? [places.get(parts[0])] : []));
    }
  });
  let depth = 0;
  const files = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => files(event) && (depth += 1, ($("drop").hidden = false)));
  addEventListener("dragleave", (event) => files(event) && (depth -= 1) <= 0 && ($("drop").hidden = true));
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    $("drop").hidden = true;
    if (event.dataTransfer?.files[0]) dropFile(event.dataTransfer.files[0]);
  });
}

function wireFilters() {
  const later = (() => {
    let waiting = 0;
    return (apply) => {
      apply();
      showFilters();
      clearTimeout(waiting);
      waiting = setTimeout(() => search(), 250);
    };
  })();
  $("radius").addEventListener("input", () => later(() => {
    const value = Number($("radius").value);
    state.radius = value >= archive.num_bits ? null : value;
  }));
  $("k").addEventListener("change", () => later(() => (state.k = Number($("k").value))));
  for (const end of ["from", "to"]) $(end).addEventListener("change", () => later(() => (state[end] = $(end).value)));
  for (const name of ["exclude", "distinct"]) $(name).addEventListener("change", () => later(() => (state[name] = $(name).checked)));
  $("region-view").addEventListener("click", () => change(() => (state.region = viewRegion())));
  $("region-clear").addEventListener("click", () => change(() => (state.region = null)));
}

function wireKept() {
  $("keep-all").addEventListener("click", () => {
    const bad = new Set(state.negatives);
    for (const { properties: p } of state.matches) if (!bad.has(p.tile_id)) state.kept.set(p.tile_id, p);
    showKept();
    showMarks();
  });
  $("kept-clear").addEventListener("click", () => {
    state.kept.clear();
    showKept();
    showMarks();
    $("results-title").scrollIntoView({ block: "nearest" });
  });
  $("download").addEventListener("click", async () => {
    const format = $("format").value;
    const tiles = [...state.kept.values()].map(({ tile_id, distance, similarity }) => ({ tile_id, distance, similarity }));
    try {
      const blob = await api.exportKept({ format, tiles });
      const anchor = document.createElement("a");
      anchor.href = URL.createObjectURL(blob);
      anchor.download = `matches.${format}`;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
    } catch (error) {
      say(error.message);
    }
  });
  $("copy-link").addEventListener("click", async () => {
    const long = state.examples.some((one) => one.codes && !link.write({ ...state, examples: [one] }).includes("codes="));
    await navigator.clipboard?.writeText(location.href);
    $("copy-link").textContent = long ? "Copied, without the patch" : "Copied";
    setTimeout(() => ($("copy-link").textContent = "Copy link"), 2500);
  });
}

async function restore({ fit }) {
  Object.assign(state, link.read(location.hash));
  if (state.region || state.from || state.to || state.radius !== null) $("filters").open = true;
  showAsked();
  showFilters();
  if (state.examples.length) await search({ fit });
}

function onView(tiles, error) {
  $("in-view").textContent = tiles ? `${plural(tiles.count, "tile")} in view` : "";
  if (error) say(error.message);
  document.body.dataset.view = tiles?.kind ?? "";
}

async function begin() {
  try {
    archive = await api.archive();
  } catch (error) {
    say(error.message);
    $("archive-facts").textContent = "could not be opened";
    return;
  }
  $("archive-name").textContent = archive.name;
  document.title = `${archive.name} – search by looks`;
  const facts = [plural(archive.num_tiles, "tile"), plural(archive.num_scenes, "scene"), archive.num_bits ? `${archive.num_bits} bits` : "no codes yet"];
  $("archive-facts").textContent = facts.join(" · ");
  $("radius").max = archive.num_bits ?? 64;
  for (const end of ["from", "to"]) {
    $(end).min = archive.time?.[0] ?? "";
    $(end).max = archive.time?.[1] ?? "";
  }
  $("time-field").hidden = !archive.time;
  view = makeMap({ archive, onView });
  wireMap();
  wireSearch();
  wireFilters();
  wireKept();
  showFilters();
  addEventListener("hashchange", () => restore({ fit: false }));
  view.map.once("load", () => restore({ fit: true }));
}

begin();
