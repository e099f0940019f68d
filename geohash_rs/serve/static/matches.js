// The matches in rank order, next to the map and on it.
import { card, mark } from "./cards.js";
import { showDateOf } from "./dates.js";
import { $ } from "./page.js";
import { toggleKept } from "./kept.js";
import { judge } from "./search.js";
import { known, state, tileIds, watch } from "./session.js";
import { look } from "./steps.js";

let drawn = state.matches;

function showCards() {
  if (drawn === state.matches) return;
  drawn = state.matches;
  const { view, archive } = known;
  const on = {
    show: (match) => look(() => {
      showDateOf(match.properties);
      view.fit([match.geometry]);
    }),
    point: (match) => view.point(match?.geometry),
    up: (match) => judge(match, true),
    down: (match) => judge(match, false),
    keep: toggleKept,
  };
  $("cards").replaceChildren(...drawn.map((match) => card(match, { numBits: archive.num_bits, several: archive.tile_sizes.length > 1, on })));
  view.showMatches(drawn);
  view.point(null);
}

function show() {
  showCards();
  $("cards").setAttribute("aria-busy", String(state.busy));
  $("results-note").textContent = state.note;
  $("nothing-yet").hidden = state.examples.length > 0;
  $("keep-all").hidden = !state.matches.length;
  const good = new Set(tileIds());
  const bad = new Set(state.negatives);
  for (const item of $("cards").children) {
    const id = Number(item.dataset.tile);
    mark(item, { good: good.has(id), bad: bad.has(id), kept: state.kept.has(id) });
  }
}

export const wireMatches = () => watch(show);
