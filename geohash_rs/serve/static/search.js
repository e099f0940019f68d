// The user's actions: start from a tile, a place or a GeoTIFF, judge matches, search again.
import * as api from "./api.js";
import { shown } from "./dates.js";
import * as link from "./link.js";
import { putBack, request } from "./marks.js";
import { $, say } from "./page.js";
import { arrive, settle, step } from "./steps.js";
import { facts, known, learn, patchOf, places, show, state, tileIds } from "./session.js";

const MOST_PLACES = 5000; // footprints to remember
const MOST_NAME = 100; // characters of a patch's name
let searching = null;

// Searches of the same kind that follow each other are one step of the history.
export async function search({ fit = false, kind = null } = {}) {
  const asked = link.searched(state);
  step(link.write(state), { kind, asked });
  searching?.abort();
  searching = null;
  say();
  if (!state.examples.length) {
    Object.assign(state, { matches: [], asked, note: "", busy: false });
    show();
    return;
  }
  const { signal } = (searching = new AbortController());
  state.busy = true;
  show();
  const patch = patchOf();
  const before = performance.now();
  const query = examples(patch);
  try {
    const found = await api.search({ ...query, ...limits() }, signal);
    if (places.size > MOST_PLACES) [places, facts].forEach((one) => one.clear());
    found.features.forEach(learn);
    await knowPlaces();
    if (signal.aborted) return;
    const took = Math.round(performance.now() - before);
    const note = found.features.length ? `${found.features.length} in ${took} ms` : "None: widen the region, time or distance.";
    Object.assign(state, { matches: found.features, asked, query: JSON.stringify(query), note, busy: false });
    show();
    if (fit) known.view.fit([...state.matches.map((one) => one.geometry), patch?.place]);
  } catch (error) {
    if (signal.aborted) return;
    fail(error);
  }
}

function examples(patch) {
  const patches = patch ? [{ name: [...patch.name].slice(0, MOST_NAME).join(""), codes: patch.codes, hasher: patch.hasher ?? null, place: patch.place ?? null }] : [];
  return { tiles: tileIds(), negatives: [...state.negatives], patches };
}

function limits() {
  return {
    k: state.k,
    max_distance: state.radius,
    region: state.region,
    time: state.from || state.to ? [state.from || null, state.to || null] : null,
    tile_sizes: state.size === null ? null : [state.size],
    exclude_overlap: state.exclude,
    distinct: state.distinct,
  };
}

async function knowPlaces() {
  const unknown = [...tileIds(), ...state.negatives].filter((id) => !places.has(id));
  const several = unknown.length > 20 ? api.tilesToJudge({ ...request(), kind: "marked" }).then((all) => all.features) : null;
  const found = await (several ?? Promise.all(unknown.map(api.tile)));
  found.forEach(learn);
}

function fail(error) {
  Object.assign(state, { note: "", busy: false });
  show();
  say(error.message);
}

export function change(apply) {
  apply();
  return search();
}

export const startOver = () => change(() => Object.assign(state, { examples: [], negatives: [] }));

// Search with a tile, alone or added to the current examples.
export async function useTile(id, { more = false } = {}) {
  if (!more) await change(() => Object.assign(state, { examples: [{ id }], negatives: [] }));
  else if (!tileIds().includes(id)) {
    await change(() => {
      state.examples.push({ id });
      state.negatives = state.negatives.filter((other) => other !== id);
    });
  }
}

export async function usePlace({ lng, lat }, { more = false } = {}) {
  try {
    const tile = await api.tileAt(lng, lat, shown());
    learn(tile);
    await useTile(tile.properties.tile_id, { more });
    return tile.properties.tile_id;
  } catch (error) {
    say(error.message);
    return null;
  }
}

export async function useFile(file) {
  say();
  if (!known.archive.takes_patches) {
    say("This archive has no hasher that reads pixels, so it cannot search with a GeoTIFF; click a tile instead.");
    return;
  }
  Object.assign(state, { note: `reading ${file.name} …`, busy: true });
  show();
  try {
    const patch = await api.patch(file, state.size);
    Object.assign(state, { examples: [patch], negatives: [] });
    await search({ fit: true });
  } catch (error) {
    fail(error);
  }
}

export function judge(tile, isGood) {
  learn(tile);
  const { tile_id: id } = tile.properties;
  const good = tileIds().includes(id);
  const bad = state.negatives.includes(id);
  state.examples = state.examples.filter((one) => one.id !== id);
  state.negatives = state.negatives.filter((other) => other !== id);
  if (isGood && !good) state.examples.push({ id });
  if (!isGood && !bad) state.negatives.push(id);
  show();
}

// Show the step that the browser is at: as it was left, or searched again.
export function restore({ fit }) {
  const found = arrive();
  if (!found) return;
  searching?.abort();
  searching = null;
  say();
  if (found.page) {
    Object.assign(state, found.page, { busy: false });
    putBack(found.marks);
    show();
  } else {
    Object.assign(state, link.read(location.hash));
    settle();
    search({ fit: fit && !found.view });
  }
  if (state.region || state.from || state.to || state.radius !== null || state.size !== null) $("filters").open = true;
  if (found.view) known.view.show(found.view);
}
