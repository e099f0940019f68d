// Judge tiles one after the other: those that teach most, the best so far, or a random check.
import * as api from "./api.js";
import { make, picture } from "./cards.js";
import { isOpen, learned, onLearned, waitIf } from "./concept.js";
import { beginDraw, canUndo, concept, numChecks, request, ROUND, undo } from "./marks.js";
import { $, keepFocus, plural, say } from "./page.js";
import { judge } from "./search.js";
import { known, learn, show as showAll, state, watch } from "./session.js";

const EVERY = 4; // judgements before the server learns again
const AHEAD = 8; // tiles to ask for
const PICTURE = 384; // px

const round = { open: false, queue: [], done: [], since: 0, skipped: new Set(), asking: null, pointed: null };
const isCheck = () => $("judge-kind").value === "check";
const idOf = (one) => one.properties.tile_id;
const isExample = (id) => state.examples.some((one) => one.id === id) || state.negatives.includes(id);
const isJudged = (id) => id !== round.pointed && (isCheck() ? concept.checks.has(id) : isExample(id));

// The tile on show stays, so that nobody judges another than the one they saw.
async function ask() {
  round.asking?.abort();
  const { signal } = (round.asking = new AbortController());
  if (!round.queue.length) $("judge-about").textContent = "looking for tiles to judge …";
  try {
    const wanted = { ...request(), kind: $("judge-kind").value, k: isCheck() ? ROUND : AHEAD, without: isCheck() ? [] : [...round.skipped] };
    const found = await api.tilesToJudge(wanted, signal);
    if (signal.aborted) return;
    const shown = round.queue[0];
    const fresh = found.features.filter((one) => !isJudged(idOf(one)) && !(shown && idOf(one) === idOf(shown)));
    round.queue = shown ? [shown, ...fresh] : fresh;
    for (const one of round.queue) learn(one);
    if (!shown) present();
  } catch (error) {
    if (signal.aborted) return;
    stop();
    say(error.message);
  }
}

function about({ tile_id: id, similarity, datetime }) {
  const which = numChecks() > 1 ? `check ${numChecks()}` : "this check";
  const left = isCheck() ? `, ${plural(round.queue.length, "tile")} left in ${which}` : "";
  const score = similarity === undefined ? "" : `, score ${similarity.toFixed(2)}`;
  return `tile ${id}${datetime ? `, ${datetime.slice(0, 10)}` : ""}${score}${left}`;
}

function present() {
  const next = round.queue[0];
  $("judge-right").disabled = $("judge-wrong").disabled = !next;
  $("judge-skip").disabled = !next || isCheck(); // leaving out what is hard would flatter the check
  if (!next) {
    $("judge-picture").replaceChildren();
    const rest = isCheck() ? "This check is complete." : "There is nothing more to judge here; widen where and when.";
    $("judge-about").textContent = learned.busy ? "learning …" : rest;
    known.view.point(null);
    return;
  }
  $("judge-picture").replaceChildren(picture(api.thumbnail(idOf(next), PICTURE), `tile ${idOf(next)}`));
  $("judge-about").textContent = about(next.properties);
  known.view.point(next.geometry);
  known.view.fit([next.geometry], { around: 0.38 });
  if (round.queue[1]) new Image().src = api.thumbnail(idOf(round.queue[1]), PICTURE);
}

// Bring the queue in line with the judgements, which may also have been undone or made elsewhere.
function align() {
  const before = round.queue[0];
  while (round.done.length && !isJudged(idOf(round.done.at(-1)))) round.queue.unshift(round.done.pop());
  while (round.queue.length && isJudged(idOf(round.queue[0]))) round.done.push(round.queue.shift());
  if (round.queue[0] !== before) present();
}

function decide(right) {
  const next = round.queue[0];
  if (!next) return;
  if (right === null) {
    if (isCheck()) return;
    round.skipped.add(idOf(next));
    round.pointed = null;
    round.queue.shift();
    present();
    if (!round.queue.length) ask();
    return;
  }
  const id = idOf(next);
  round.since += 1;
  round.pointed = null;
  const same = right ? state.examples.some((one) => one.id === id) : state.negatives.includes(id);
  if (isCheck()) concept.checks.set(id, right);
  if (isCheck() || same) showAll();
  else judge(next, right);
}

function back() {
  round.since += 1;
  undo();
}

function start({ further = false } = {}) {
  Object.assign(round, { open: true, since: 0, queue: [], done: [], skipped: new Set() });
  if (isCheck()) beginDraw(scoreShown(), { further });
  showAll();
  $("judge-title").focus({ preventScroll: true });
  $("judge").scrollIntoView({ block: "start" });
  ask();
}

// Judge a tile that the user points at.
export function judgeThis(feature) {
  if (isCheck()) $("judge-kind").value = "teach";
  if (!round.open) Object.assign(round, { open: true, since: 0, queue: [], done: [], skipped: new Set() });
  learn(feature);
  round.queue = [feature, ...round.queue.filter((one) => idOf(one) !== idOf(feature))];
  round.pointed = idOf(feature);
  showAll();
  present();
  $("judge").scrollIntoView({ block: "start" });
}

function stop() {
  round.asking?.abort();
  Object.assign(round, { open: false, queue: [], done: [], since: 0, pointed: null });
  known.view.point(null);
  keepFocus(showAll, "judge-start");
}

export function startCheck(options) {
  $("judge-kind").value = "check";
  start(options);
}

let scoreShown = () => 0.5; // of the areas, which a check is about
export const checkFrom = (score) => (scoreShown = score);

const KEYS = { r: () => decide(true), w: () => decide(false), s: () => decide(null), u: back };

function keys(event) {
  if (!round.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

function show() {
  if (round.open && !isOpen()) return stop();
  $("judge-part").hidden = !round.open;
  $("judge-start").hidden = $("judge-hint").hidden = round.open;
  $("judge-stop").hidden = !round.open;
  $("judge-undo").disabled = !canUndo();
  if (round.open) align();
}

export function wireJudge() {
  watch(show);
  waitIf(() => round.open && round.queue.length > 0 && round.since > 0 && round.since < EVERY);
  onLearned((answer) => {
    round.since = 0;
    if (!answer || !round.open) return;
    if (!isCheck()) ask();
    else if (!round.queue.length && round.done.length) present(); // it said "learning …" until now
  });
  $("judge-start").addEventListener("click", () => start());
  $("judge-stop").addEventListener("click", stop);
  $("judge-kind").addEventListener("change", () => round.open && start());
  $("judge-right").addEventListener("click", () => decide(true));
  $("judge-wrong").addEventListener("click", () => decide(false));
  $("judge-skip").addEventListener("click", () => decide(null));
  $("judge-undo").addEventListener("click", back);
  document.addEventListener("keydown", keys);
}
