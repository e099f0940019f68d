// The page's history: Back and Forward restore a search, its matches, the marks and the map.
import * as link from "./link.js";
import { marksNow } from "./marks.js";
import { known, patchOf, state, watch } from "./session.js";

const MOST_STEPS = 100; // to remember; older ones are searched again
const PAUSE = 400; // ms after a move of the map before the browser is told

// A step's page is what was on it when it was left, if its search was answered; steps of the same
// kind that follow each other become one.
const steps = new Map();
let now = null;
let made = 0;
let looking = false; // whether what changes is part of a look

const addressOf = (hash) => (hash ? `#${hash}` : location.pathname);
const keyOf = (hash) => `${hash} ${patchOf()?.codes ?? ""}`; // an address does not hold a large patch

function viewOf() {
  const { map } = known.view;
  return map && { center: map.getCenter().toArray(), zoom: map.getZoom() };
}

function enter(step) {
  now = { id: `${performance.timeOrigin} ${(made += 1)}`, kind: null, page: null, marks: null, ...step };
  steps.set(now.id, now);
  if (steps.size > MOST_STEPS) steps.delete(steps.keys().next().value);
}

const noteView = () => now && history.replaceState({ step: now.id, view: viewOf() }, "");

// Record that the address of the page has changed, unless it is that of the present step; asked
// identifies the search whose matches belong to it, by default that of the present step. With
// `amend`, the present step changes, as what follows from an act belongs to it.
export function step(hash, { kind = null, asked, amend = false } = {}) {
  if (!now) arrive(); // before the map is ready
  asked ??= now.asked;
  const key = keyOf(hash);
  if (key === now.key) return;
  if (looking || amend || (kind && kind === now.kind)) {
    Object.assign(now, { key, hash, asked, page: null });
    history.replaceState({ step: now.id, view: viewOf() }, "", addressOf(hash));
    return;
  }
  noteView();
  enter({ key, hash, asked, kind });
  history.pushState({ step: now.id, view: viewOf() }, "", addressOf(hash));
}

// Move the map to something, and perhaps show its date; Back returns to where it was before this and
// all such moves in turn.
export function look(move) {
  if (!now) arrive();
  if (now.kind !== "look") {
    noteView();
    const { id, ...same } = now;
    enter({ ...same, kind: "look" });
    history.pushState({ step: now.id, view: viewOf() }, "");
  }
  looking = true;
  move();
  looking = false;
}

// The step that the browser has come to: its page, if it is remembered, and its view of the map.
// Null if it is the present one, or none of this page.
export function arrive() {
  const { step: id, view = null } = history.state ?? {};
  if (now && id === now.id) return null;
  const found = id && steps.get(id);
  if (found) now = found;
  else {
    if (!link.holds(location.hash)) return null;
    const read = { ...state, ...link.read(location.hash) };
    enter({ hash: link.write(read), asked: link.searched(read), key: null, ...(id && { id }) });
    history.replaceState({ step: now.id, view }, "");
  }
  return { page: now.page, marks: now.marks, view };
}

// The search of a step that was not remembered is known once it is read from the address.
export const settle = () => (now.key = keyOf(now.hash));

// Keep what is on the page, as long as its matches are those of the present step.
function remember() {
  if (!now || state.busy || state.asked !== now.asked) return;
  const { kept, busy, examples, negatives, ...page } = state; // marks hold the examples
  Object.assign(now, { page, marks: marksNow() });
}

export function wireSteps({ onArrival }) {
  watch(remember);
  for (const name of ["popstate", "hashchange"]) addEventListener(name, () => onArrival({ fit: false }));
  let waiting = 0;
  known.view.map?.on("moveend", () => {
    clearTimeout(waiting);
    waiting = setTimeout(noteView, PAUSE);
  });
}
