// The page: what is asked, the matches, and what to do with them.
"use strict";

const ASK_FROM = 8e6; // bytes; a larger search asks first
const $ = (id) => document.getElementById(id);
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const state = { scenes: [], good: [], bad: [], box: null, matches: [], shapes: new Map(), at: null, searching: 0, picking: 0 };
let archive = null;
let map = null;

function say(error) {
  $("problem").textContent = error ? (error.message ?? String(error)) : "";
  $("problem").hidden = !error;
}

function describe() {
  document.title = `${plainText(ABOUT.name)}: search by appearance`;
  $("name").textContent = plainText(ABOUT.name);
  const sizes = Object.values(ABOUT.sizes).reduce((sum, size) => sum + size, 0);
  $("facts").textContent = `${plural(ABOUT.tiles, "tile")}, ${ABOUT.num_bits} bits each`;
  state.scenes = shortNames(ABOUT.kinds.scene ?? []);
  for (const [kind, names] of Object.entries(ABOUT.kinds)) offer(kind, names);
  const pictures = ABOUT.pictures ? " The pictures are copies of the scenes’ imagery, under its licence." : "";
  $("about").textContent = `${megabytes(sizes)} of data, searched in this browser; nothing you do here is sent anywhere.${pictures} Coastlines and borders: Natural Earth.`;
  $("when").hidden = !ABOUT.timed;
}

// The shortest ends of paths that tell them apart: file names, with folders where two are equal.
function shortNames(paths) {
  const short = [...paths];
  let open = paths.map((path, at) => ({ at, parts: path.split(/[\\/]/) }));
  for (let size = 1; open.length; size++) {
    const end = ({ parts }) => parts.slice(-size).join("/");
    const counts = new Map();
    for (const one of open) counts.set(end(one), (counts.get(end(one)) ?? 0) + 1);
    for (const one of open) if (counts.get(end(one)) === 1) short[one.at] = end(one);
    open = open.filter((one) => counts.get(end(one)) > 1 && one.parts.length > size);
  }
  return short;
}

// The names of a kind as they are offered and linked; of scenes the short ones, since paths tell of a disk.
const namesOf = (kind) => (kind === "scene" ? state.scenes : ABOUT.kinds[kind].map(String));

// How a tile's scene is written.
function sceneText(scene) {
  const at = ABOUT.kinds.scene?.indexOf(scene) ?? -1;
  return plainText(at < 0 ? scene.split(/[\\/]/).at(-1) : state.scenes[at]);
}

// Offer the scenes, labels or tile sizes of an archive, in order.
function offer(kind, names) {
  const shownNames = namesOf(kind).map((name) => (kind === "tile_size" ? `${name} px` : plainText(name)));
  const option = (value, shown) => Object.assign(document.createElement("option"), { value, textContent: shown });
  const sorted = names.map((name, at) => [at, shownNames[at], name]).sort((a, b) => (kind === "tile_size" ? a[2] - b[2] : a[1].localeCompare(b[1], "en", { numeric: true })));
  $(kind).replaceChildren(option("", "any"), ...sorted.map(([at, shown]) => option(at, shown)));
  $(kind).closest(".field").hidden = false;
}

// The scene, label and tile size that are chosen, such as { scene: "/data/a.tif" }.
function chosenKinds() {
  const chosen = Object.entries(ABOUT.kinds).filter(([kind]) => $(kind).value !== "");
  return Object.fromEntries(chosen.map(([kind, names]) => [kind, names[Number($(kind).value)]]));
}

function ofKinds(tile) {
  return Object.entries(chosenKinds()).every(([kind, name]) => (kind === "tile_size" ? sizeOf(tile) : tile[kind]) === name);
}
const passes = (tile) => inDays(tile) && ofKinds(tile);

// The source of the data; null while a folder must be chosen.
function findSource() {
  if (location.protocol !== "file:") return new WebSource();
  if (ABOUT.scripts) return new ScriptSource();
  const sizes = Object.values(ABOUT.sizes).reduce((sum, size) => sum + size, 0);
  $("choose-why").textContent = `This page was opened from a disk, where browsers do not let it read ${megabytes(sizes)} by itself. Choose the folder “data” next to this page (its files stay on this computer), or put the whole folder on a web host.`;
  $("choose").hidden = false;
  $("fields").disabled = true;
  return null;
}

function begin(source) {
  archive = new Archive(source);
  map.archive = archive;
  $("fields").disabled = false;
  $("choose").hidden = true;
  readLink();
  map.fit(ABOUT.bounds ?? [-170, -60, 170, 75]);
  const first = state.good.length ? run() : map.look(); // what was asked comes before decoration
  first.then(addWorld);
}

// Draw coastlines and borders once they are there; a map without them is a map, too.
async function addWorld() {
  try {
    await loadScript("world");
    map.world = worldLines(await readWorld(new Blob([scripts.get("world")]).stream()));
  } catch {
    return;
  }
  map.draw();
}

// The search as a link: #good=1,2&bad=3&box=w,s,e,n&from=2023-01-01&to=...&scene=a.tif&k=20
function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  const numbers = (name) => (link.get(name) ?? "").split(",").filter(Boolean).map(Number);
  state.good = numbers("good").filter(Number.isSafeInteger);
  state.bad = numbers("bad").filter(Number.isSafeInteger);
  const box = numbers("box");
  state.box = box.length === 4 && box.every(Number.isFinite) ? box : null;
  for (const name of ["from", "to"]) $(name).value = link.get(name) ?? "";
  for (const [kind, names] of Object.entries(ABOUT.kinds)) {
    const wanted = link.get(kind);
    const at = Math.max(namesOf(kind).indexOf(wanted), names.indexOf(wanted)); // or a whole path, as links had
    $(kind).value = at < 0 ? "" : at;
  }
  if ([...$("k").options].some(({ value }) => value === link.get("k"))) $("k").value = link.get("k");
  showAsked();
}
function writeLink() {
  const link = new URLSearchParams({ good: state.good.join() });
  if (state.bad.length) link.set("bad", state.bad.join());
  if (state.box) link.set("box", state.box.join());
  for (const name of ["from", "to"]) if ($(name).value) link.set(name, $(name).value);
  for (const kind of Object.keys(chosenKinds())) link.set(kind, namesOf(kind)[Number($(kind).value)]);
  link.set("k", $("k").value);
  history.replaceState(null, "", `#${link}`.replaceAll("%2C", ","));
}

// First and last microsecond of the days that are chosen, or null.
function chosenTime() {
  const moment = (text) => BigInt(Date.parse(`${text}T00:00:00Z`)) * 1000n;
  const [from, to] = [$("from").value, $("to").value];
  if (!from && !to) return null;
  const range = [from ? moment(from) : NEVER, to ? moment(to) + 86_400_000_000n - 1n : 2n ** 63n - 1n];
  if (range[0] > range[1]) throw new Error(`“When” ends before it starts: ${from} to ${to}; swap the two.`);
  return range;
}

// Whether a tile was taken within the chosen days.
function inDays({ datetime, datetime_end: end }) {
  const [from, to] = [$("from").value, $("to").value];
  if (!from && !to) return true;
  if (!datetime) return false;
  return (!to || datetime.slice(0, 10) <= to) && (!from || (end ?? datetime).slice(0, 10) >= from);
}

async function run({ agreed = false } = {}) {
  const number = ++state.searching;
  say(null);
  $("ask").hidden = true;
  try {
    const asked = { good: state.good, bad: state.bad, k: Number($("k").value), region: state.box && splitBox(state.box), time: chosenTime(), kinds: chosenKinds() };
    const cost = await costOf(archive, { region: asked.region && regionOf(asked.region), time: asked.time, kinds: numberedKinds(asked.kinds) });
    if (number !== state.searching) return;
    if (cost > ASK_FROM && !agreed) return askFirst(cost);
    writeLink();
    $("cards").setAttribute("aria-busy", "true");
    let read = 0;
    const matches = await search(archive, asked, (bytes) => {
      read += bytes;
      if (number === state.searching) $("note").textContent = `reading ${megabytes(read)} of ${megabytes(cost)}`;
    });
    if (number !== state.searching) return;
    state.matches = matches;
    for (const match of matches) state.shapes.set(match.tile_id, match.shape);
    await showMatches();
  } catch (error) {
    if (number === state.searching) say(error);
  } finally {
    if (number === state.searching) $("cards").setAttribute("aria-busy", "false");
  }
}

function askFirst(cost) {
  const place = state.box ? "This box" : "Searching everywhere";
  $("ask-why").textContent = `${place} needs ${megabytes(cost)} of codes, once. A smaller box needs less: draw one on the map.`;
  $("ask-go").textContent = `Read ${megabytes(cost)} and search`;
  $("ask").hidden = false;
}

const facts = (match) => [
  `${match.rank}. ${plural(match.distance, "bit")}`,
  fullDate(match),
  sceneText(match.scene),
];

async function showMatches() {
  map.matches = state.matches;
  const { id, text } = state.at ?? {};
  const like = state.good.length === 1 && state.good[0] === id ? ` like tile ${id}, at ${text}` : "";
  $("note").textContent = state.matches.length ? `${plural(state.matches.length, "tile")}${like}` : "No tile passes these limits.";
  $("downloads").hidden = !state.matches.length;
  $("cards").replaceChildren(...state.matches.map(card));
  showAsked();
  if (ABOUT.pictures) await showPictures();
}

function card(match) {
  const item = document.createElement("li");
  item.className = "card";
  item.dataset.tile = match.tile_id;
  const show = document.createElement("button");
  show.type = "button";
  show.className = "show";
  const [far, date, scene] = facts(match);
  show.title = plainText(match.scene);
  const strong = document.createElement("b");
  strong.textContent = far;
  const more = [match.label && plainText(match.label), ABOUT.kinds.tile_size && `${sizeOf(match) ?? "?"} px`].filter(Boolean).join(", ");
  const lines = [[`tile ${match.tile_id}`, ""], [date, "date"], [scene, ""], ...(more ? [[more, ""]] : [])];
  show.append(strong, ...lines.map(([textContent, className]) => Object.assign(document.createElement("span"), { textContent, className })));
  show.addEventListener("click", () => fitTile(match.shape));
  for (const [name, shape] of [["mouseenter", match.shape], ["focusin", match.shape], ["mouseleave", null], ["focusout", null]]) {
    item.addEventListener(name, () => {
      map.pointed = shape;
      map.draw();
    });
  }
  const marks = document.createElement("div");
  marks.className = "marks";
  for (const [kind, list, text] of [["up", "good", "good"], ["down", "bad", "bad"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind;
    button.textContent = text;
    button.setAttribute("aria-label", `Tile ${match.tile_id} is a ${text} example`);
    button.addEventListener("click", () => mark(match.tile_id, list));
    marks.append(button);
  }
  item.append(show, marks);
  return item;
}

async function showPictures() {
  const shown = state.matches;
  const there = shown.filter(({ picture }) => picture).sort((a, b) => a.picture[0] - b.picture[0]);
  const found = await readRanges(archive.source, "pictures.bin", there.map(({ picture: [start, size] }) => [start, start + size]));
  if (shown !== state.matches) return;
  there.forEach((match, at) => {
    const image = document.createElement("img");
    image.alt = `Tile ${match.tile_id}`;
    image.src = URL.createObjectURL(new Blob([found[at]], { type: "image/webp" }));
    image.onload = () => URL.revokeObjectURL(image.src);
    document.querySelector(`.card[data-tile="${match.tile_id}"] .show`).before(image);
  });
}

// Mark a tile as a good or bad example, or take the mark away.
function mark(id, list) {
  const had = state[list].includes(id);
  state.good = state.good.filter((one) => one !== id);
  state.bad = state.bad.filter((one) => one !== id);
  if (!had) state[list].push(id);
  showAsked();
  if (state.good.length) run();
  else $("note").textContent = "Mark a good example to search.";
}

function showAsked() {
  const chip = (id, list) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = list;
    button.textContent = `${list} ${id} ×`;
    button.setAttribute("aria-label", `Take tile ${id} off the ${list} examples`);
    button.addEventListener("click", () => mark(id, list));
    return button;
  };
  $("examples").replaceChildren(...state.good.map((id) => chip(id, "good")), ...state.bad.map((id) => chip(id, "bad")));
  for (const item of $("cards").children) {
    const id = Number(item.dataset.tile);
    const [good, bad] = [state.good.includes(id), state.bad.includes(id)];
    item.className = `card ${good ? "good" : bad ? "bad" : ""}`;
    item.querySelector(".up").setAttribute("aria-pressed", good);
    item.querySelector(".down").setAttribute("aria-pressed", bad);
  }
  $("where").textContent = state.box ? state.box.map((value) => value.toFixed(3)).join(", ") : "anywhere";
  $("anywhere").hidden = !state.box;
  map.region = state.box;
  map.examples = [["good", true], ["bad", false]].flatMap(([list, good]) => state[list].map((id) => ({ shape: state.shapes.get(id), good }))).filter(({ shape }) => shape);
  map.draw();
}

// Search like the tile at a place that passes the limits; whether there is one.
async function pick(place, more = false) {
  const number = ++state.picking;
  const there = await tilesAt(archive, place);
  if (number !== state.picking) return true;
  const tile = there.find(passes);
  if (!tile) {
    if (!there.length) return false;
    const known = [...new Set(there.map((one) => [fullDate(one), sceneText(one.scene)].join(", ")))];
    throw new Error(`No tile at ${placeText(place)} passes the limits. There are tiles of: ${known.slice(0, 8).join("; ")}${known.length > 8 ? "; …" : ""}.`);
  }
  state.shapes.set(tile.tile_id, tile.shape);
  state.at = { id: tile.tile_id, text: placeText(place) };
  if (!more) [state.good, state.bad] = [[], []];
  if (!state.good.includes(tile.tile_id)) state.good.push(tile.tile_id);
  showAsked();
  run();
  return true;
}

// Go to the place or tile that is written, and search like the tile there.
async function goTo() {
  say(null);
  const text = $("place").value;
  const place = readPlace(text, ABOUT.bounds);
  if (place.problem) throw new Error(`“${plainText(text)}” ${place.problem}.`);
  if (place.id !== undefined) return goToTile(place.id);
  const { lat, lng } = place;
  const view = map.view();
  const wide = Math.min(view[2] - view[0], 2);
  map.fit([lng - wide / 2, Math.max(-85, lat - wide / 4), lng + wide / 2, Math.min(85, lat + wide / 4)], 1);
  const found = await pick(place);
  const other = { lat: lng, lng: lat };
  const turned = !found && Math.abs(lng) <= 90 && (await tilesAt(archive, other)).length;
  if (!found) throw new Error(`No tile lies at ${placeText(place)}.${turned ? ` One lies at ${placeText(other)}; write that if latitude and longitude are swapped.` : ""}`);
}

async function goToTile(id) {
  const [tile] = await archive.tiles([await knownRow(archive, id)]);
  fitTile(tile.shape);
  searchLike(id);
}

function searchLike(id) {
  [state.good, state.bad] = [[id], []];
  showAsked();
  run();
}

const fitTile = (shape) => shape && map.fit(boundsOfShape(unwrapped(shape)), 0.25);

function setBox(box) {
  state.box = box && box.map((value, at) => +(at % 2 ? Math.max(-90, Math.min(90, value)) : value).toFixed(6));
  setDrawing(false);
  showAsked();
  if (state.good.length) run();
}
function setDrawing(on) {
  map.drawing = on;
  $("draw").setAttribute("aria-pressed", on);
  $("map").classList.toggle("drawing", on);
}

function connect() {
  map = new TileMap($("map"), {
    async onPoint([lng, lat], more) {
      if (archive) await pick({ lat, lng }, more).catch(say);
    },
    onBox: setBox,
    passes,
    onView(count, drawn, error) {
      if (error) say(error);
      else $("in-view").textContent = drawn ? `${plural(count, "tile")} in view; click one to search` : count ? `about ${plural(count, "tile")} in view; zoom in to see each` : "no tile in view";
    },
  });
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.submitter === $("go") || document.activeElement === $("place")) return goTo().catch(say);
    const text = $("tile").value.trim();
    if (!/^\d+$/.test(text)) return text || !state.good.length ? say(new Error("Write the id of a tile, a whole number, or click a tile on the map.")) : run();
    searchLike(Number(text));
  });
  for (const name of ["from", "to", "k", "scene", "label", "tile_size"]) {
    $(name).addEventListener("change", () => {
      map.look();
      if (state.good.length) run();
    });
  }
  $("ask-go").addEventListener("click", () => run({ agreed: true }));
  $("view-box").addEventListener("click", () => {
    const [west, south, east, north] = map.view();
    setBox(east - west >= 360 ? null : [west, south, east, north]);
  });
  $("anywhere").addEventListener("click", () => setBox(null));
  $("draw").addEventListener("click", () => setDrawing(!map.drawing));
  $("zoom-in").addEventListener("click", () => map.zoom(1.7));
  $("zoom-out").addEventListener("click", () => map.zoom(1 / 1.7));
  $("zoom-all").addEventListener("click", () => map.fit(ABOUT.bounds ?? [-170, -60, 170, 75]));
  $("geojson").addEventListener("click", () => saveFile("matches.geojson", "application/geo+json", geoJsonText(state.matches)));
  $("csv").addEventListener("click", () => saveFile("matches.csv", "text/csv", csvText(state.matches)));
  $("folder").addEventListener("change", () => {
    try {
      say(null);
      begin(new ChosenSource($("folder").files));
    } catch (error) {
      say(error);
    }
  });
}

function start() {
  if (typeof ABOUT === "undefined") {
    return say(new Error("data/site.js is missing. Copy the whole folder, with the folder “data”."));
  }
  describe();
  connect();
  const source = findSource();
  if (source) begin(source);
}
start();
