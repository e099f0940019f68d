// Where, when, how close, how many.
import { $, plural } from "./page.js";
import { regionOfView } from "./region.js";
import { change, search } from "./search.js";
import { known, state, watch } from "./session.js";

let drawn = null;

function show() {
  $("radius").value = state.radius ?? known.archive.num_bits;
  $("radius-out").textContent = state.radius === null ? "any distance" : `≤ ${plural(state.radius, "bit")}`;
  $("k").value = String(state.k);
  if ($("k").value !== String(state.k)) {
    $("k").append(new Option(state.k, state.k));
    $("k").value = String(state.k);
  }
  for (const end of ["from", "to"]) {
    if ($(end).value !== state[end]) $(end).value = state[end]; // "" would erase a date being typed
  }
  const size = String(state.size ?? "");
  $("size-field").hidden = known.archive.tile_sizes.length < 2 && !size;
  $("size").value = size;
  if ($("size").value !== size) {
    $("size").append(new Option(`${size} px`, size));
    $("size").value = size;
  }
  $("exclude").checked = state.exclude;
  $("distinct").checked = state.distinct;
  $("region-clear").disabled = !state.region;
  const set = [state.region && "a region", (state.from || state.to) && "a time", state.radius !== null && "a radius", state.size !== null && "a tile size"].filter(Boolean);
  $("filters-note").textContent = set.length ? `${set.join(", ")} set` : "";
  if (state.region !== drawn) known.view.showRegion(state.region); // do not erase corners being drawn
  drawn = state.region;
}

let waiting = 0;
function later(kind, apply) {
  apply();
  show();
  clearTimeout(waiting);
  waiting = setTimeout(() => search({ kind }), 250);
}

export function wireFilters() {
  const { num_bits: numBits, time, tile_sizes: sizes } = known.archive;
  watch(show);
  $("radius").max = numBits ?? 64;
  for (const end of ["from", "to"]) {
    $(end).min = time?.[0] ?? "";
    $(end).max = time?.[1] ?? "";
    $(end).addEventListener("change", () => later("when", () => (state[end] = $(end).value)));
  }
  $("time-field").hidden = !time;
  $("size").append(...sizes.map((size) => new Option(`${size} px`, size)));
  $("size").addEventListener("change", () => change(() => (state.size = Number($("size").value) || null)));
  $("radius").addEventListener("input", () => later("radius", () => {
    const value = Number($("radius").value);
    state.radius = value >= numBits ? null : value;
  }));
  $("k").addEventListener("change", () => later(null, () => (state.k = Number($("k").value))));
  for (const name of ["exclude", "distinct"]) $(name).addEventListener("change", () => later(null, () => (state[name] = $(name).checked)));
  $("region-view").addEventListener("click", () => change(() => (state.region = regionOfView(known.view.map.getBounds()))));
  $("region-clear").addEventListener("click", () => change(() => (state.region = null)));
}
