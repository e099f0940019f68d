// The tiles kept from one or more searches, and their download.
import * as api from "./api.js";
import { $, plural, save, say } from "./page.js";
import { show as showAll, state, watch } from "./session.js";

// Distances to different queries must not be mixed in one column.
const ofOneQuery = () => new Set([...state.kept.values()].map((one) => one.query)).size === 1;

function show() {
  $("kept").hidden = !state.kept.size;
  $("kept-title").textContent = `${plural(state.kept.size, "tile")} kept`;
  $("kept-note").hidden = !state.kept.size || ofOneQuery();
}

const keep = ({ tile_id: id, distance, similarity }) => state.kept.set(id, { distance, similarity, query: state.query });

export function toggleKept({ properties }) {
  if (!state.kept.delete(properties.tile_id)) keep(properties);
  showAll();
}

// What people see of a query.
const shown = ({ patches, ...tiles }) => ({ ...tiles, patches: patches.map(({ name, place }) => ({ name, place })) });

async function download() {
  const format = $("format").value;
  const comparable = ofOneQuery();
  const tiles = [...state.kept].map(([id, { distance, similarity }]) => (comparable ? { tile_id: id, distance, similarity } : { tile_id: id }));
  const query = comparable ? shown(JSON.parse([...state.kept.values()][0].query)) : null;
  try {
    save(await api.exportKept({ format, tiles, query }), `matches.${format}`);
  } catch (error) {
    say(error.message);
  }
}

export function wireKept() {
  watch(show);
  $("keep-all").addEventListener("click", () => {
    const bad = new Set(state.negatives);
    for (const { properties } of state.matches) if (!bad.has(properties.tile_id)) keep(properties);
    showAll();
  });
  $("kept-clear").addEventListener("click", () => {
    state.kept.clear();
    showAll();
  });
  $("download").addEventListener("click", download);
}
