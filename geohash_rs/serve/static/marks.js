// What is judged right and wrong: undo and redo, and concepts kept by name in this browser.
import { say } from "./page.js";
import { known, patchOf, show, state, tileIds, watch } from "./session.js";

const MOST_STEPS = 500; // to undo
export const ROUND = 60; // tiles of a check
export const MOST_CHECKS = 4; // of the same marks

// others are marks without a tile of this archive, from a file; file is that file's text, as long as
// its marks are unchanged. checks are judgements of a random draw, tile id -> whether it is right,
// apart from what teaches; draw says what it was drawn from, and its seed how many checks of these
// marks came before.
const blank = () => ({ name: "", others: [], hasher: null, file: null, draw: null, checks: new Map() });
let number = 0; // of the concept, to tell the steps of one from those of the next
export const concept = { ...blank(), number };

const past = [];
const future = [];
let last = null;

const snapshot = () => ({
  name: concept.name,
  number: concept.number,
  examples: [...state.examples],
  negatives: [...state.negatives],
  others: concept.others,
  hasher: concept.hasher,
  file: concept.file,
  draw: concept.draw,
  checks: new Map(concept.checks),
});
const namesOf = ({ examples, negatives, others }) => [
  ...examples.map((one) => (one.codes ? `patch ${one.codes}` : `right ${one.id}`)),
  ...negatives.map((id) => `wrong ${id}`),
  ...others.map((one) => `other ${one.right} ${one.code}`),
];
const taught = (one) => JSON.stringify(namesOf(one).sort());
const keyOf = (one) => JSON.stringify([taught(one), [...one.checks]]);

// A draw and a file hold for the marks that they were made with.
function follow() {
  const next = snapshot();
  if (keyOf(next) === keyOf(last)) return;
  const before = new Set(namesOf(last));
  const shared = namesOf(next).some((one) => before.has(one));
  if (before.size && (!shared || !numRight())) Object.assign(concept, blank(), { number: (number += 1) });
  else if (taught(next) !== taught(last)) Object.assign(concept, { file: null, draw: null, checks: new Map() });
  if (before.size || past.length) past.push(last); // the first mark is where steps begin
  if (past.length > MOST_STEPS) past.shift();
  future.length = 0;
  last = snapshot();
  recognise();
  keep();
}

export const marksNow = snapshot;

function put(target) {
  const { examples, negatives, checks, ...rest } = target;
  Object.assign(state, { examples: [...examples], negatives: [...negatives] });
  Object.assign(concept, rest, { checks: new Map(checks) });
  last = snapshot();
  keep();
}

function step(from, to) {
  if (!from.length) return;
  to.push(last);
  put(from.pop());
  show();
}

// Return to former or later marks; undo and redo then take the steps before and after them.
export function putBack(target) {
  const isIt = (one) => keyOf(one) === keyOf(target);
  for (const [from, to] of [[past, future], [future, past]]) {
    if (isIt(last)) break;
    const at = from.findLastIndex(isIt);
    if (at < 0) continue;
    to.push(last, ...from.splice(at + 1).reverse());
    last = from.pop();
  }
  if (!isIt(last)) {
    past.push(last);
    future.length = 0;
    last = target;
  }
  put(last);
}

export const undo = () => step(past, future);
export const redo = () => step(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

// Replace all marks, which are shown by the search that follows; undo returns to those before.
export function use(target) {
  past.push(last);
  future.length = 0;
  put({ ...blank(), ...target, number: (number += 1) });
  recognise();
}

// --- kept in this browser, for this archive ---

const shelf = () => `geohash-rs concepts ${known.archive.place}`;

export function kept() {
  try {
    return JSON.parse(localStorage.getItem(shelf())) ?? {};
  } catch { // turned off, or not ours
    return {};
  }
}

function write(all) {
  try {
    localStorage.setItem(shelf(), JSON.stringify(all));
  } catch {
    say("This browser keeps nothing for this page, so save the concept as a file before you leave.");
  }
}

function keep() {
  if (!concept.name) return;
  const { name, number: _, checks, ...rest } = snapshot();
  write({ ...kept(), [name]: { ...rest, checks: [...checks] } });
}

// Marks restored from the address are those of a kept concept that has the same ones.
function recognise() {
  if (concept.name || !numRight()) return;
  const [name, one] = Object.entries(kept()).find(([, other]) => taught(other) === taught(last)) ?? [];
  if (!name) return;
  if (!concept.file) Object.assign(concept, { file: one.file, draw: one.draw, checks: new Map(one.checks) });
  nameSteps(name);
  last = snapshot();
}

function nameSteps(name) {
  for (const one of [...past, ...future, last, concept]) if (one.number === concept.number) one.name = name;
}

export function rename(name) {
  const all = kept();
  delete all[concept.name];
  nameSteps(name);
  write(all);
  keep();
  show();
}

export function forget(name) {
  const all = kept();
  delete all[name];
  write(all);
  if (concept.name === name) nameSteps("");
  show();
}

export function openKept(name) {
  const one = kept()[name];
  if (one) use({ ...one, name, checks: new Map(one.checks) });
}

// --- for the server ---

export const numRight = () => state.examples.length + concept.others.filter((one) => one.right).length;
export const numWrong = () => state.negatives.length + concept.others.filter((one) => !one.right).length;

const filters = () => ({
  region: state.region,
  time: state.from || state.to ? [state.from || null, state.to || null] : null,
  tile_sizes: state.size === null ? null : [state.size],
});

// Draw tiles of at least this score at random, for a check. A check goes on where it was left; a
// further one draws again, and the judgements of the one before do not count for it.
export function beginDraw(score, { further = false } = {}) {
  if (concept.draw && drawFits() && !further) return;
  const seed = concept.draw ? Math.min(numChecks(), MOST_CHECKS - 1) : 0;
  Object.assign(concept, { draw: { check_score: score, seed, ...filters() }, checks: new Map() });
}

export const numChecks = () => (concept.draw?.seed ?? 0) + 1;
export const isChecking = () => Boolean(concept.draw) && drawFits();

// What was drawn says nothing about other places and times.
function drawFits() {
  const { check_score: _, seed: __, ...drawn } = concept.draw;
  return JSON.stringify(drawn) === JSON.stringify(filters());
}

function marks() {
  if (concept.file) return { file: concept.file };
  const patch = patchOf();
  const codes = (patch?.codes ?? []).map((code) => ({ right: true, code, source: patch.name }));
  return { right: tileIds(), wrong: state.negatives, others: [...codes, ...concept.others], hasher: patch?.hasher || concept.hasher || null };
}

export function request() {
  const checks = [...concept.checks].map(([id, right]) => ({ tile_id: id, right }));
  const drawn = isChecking() ? { checks, check_tiles: ROUND, check_score: concept.draw.check_score, seed: concept.draw.seed ?? 0 } : {};
  return { name: concept.name || "concept", ...marks(), ...filters(), ...drawn };
}

export function wireMarks() {
  last = snapshot();
  watch(follow);
}
