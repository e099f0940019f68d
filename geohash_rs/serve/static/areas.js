// The areas of a concept: a slider for the score, what it promises, the map and the download.
import * as api from "./api.js";
import { isOpen, learned, onLearned } from "./concept.js";
import { drawHistogram } from "./histogram.js";
import { checkFrom, startCheck } from "./judge.js";
import { concept, isChecking, MOST_CHECKS, numChecks, request, ROUND } from "./marks.js";
import { $, plural, save, say } from "./page.js";
import { known, watch } from "./session.js";

const PAUSE = 60; // ms between two requests while the slider moves
const STEPS = 200; // of the slider
let threshold = 0; // highest cost; the slider shows it as a score
let chosen = null; // the score that the user chose, kept while the concept learns
let shown = 0; // tiles
let asking = null;
let outdated = false; // whether to ask again after the answer
let waiting = 0;

const scoreOf = (cost) => 1 / (1 + Math.exp((cost - learned.answer.offset) * learned.answer.unit));
const percent = (share) => `${Math.floor(100 * share)} %`; // never more than was promised

// What is promised at a cost: that of the next higher cost which was tested.
function promisedAt(cost) {
  const { values, promised } = learned.answer.promise;
  const at = values.findIndex((value) => value >= cost);
  return at < 0 ? null : promised[at];
}

function promise() {
  const { promise: given, check_left: left } = learned.answer;
  if (!given && isComplete()) return "Not calibrated: the check could promise nothing.";
  if (!given) {
    const more = hasBegun() ? `${plural(left, "more random tile")}` : plural(Math.min(ROUND, shown || ROUND), "random tile");
    return `Not calibrated: judge ${more} to know how many are right.`;
  }
  const share = promisedAt(threshold);
  if (share === null) return "Nothing is known here: the check drew from higher scores.";
  if (share <= 0) return "Nothing can be promised here.";
  return `At least ${percent(share)} are right; ${risk(given.delta)}.`;
}

const hasBegun = () => isChecking() && concept.checks.size > 0;
const isComplete = () => hasBegun() && learned.answer.check_left === 0;

// Whoever chooses among several checks has as many chances of a wrong promise.
function risk(delta) {
  const rate = `${Math.ceil(100 * delta - 1e-9)} % of cases`;
  return isComplete() && numChecks() > 1 ? `this is check ${numChecks()} of the same marks, and the best of ${numChecks()} fails in up to ${rate}` : `such a promise fails in ${rate}`;
}

const wanted = () => ({ ...request(), max_cost: threshold, dates: $("area-dates").value, min_area_km2: Number($("area-least").value) || 0 });

function showNumbers(found) {
  shown = found.tiles;
  const size = found.km2 === null ? "" : ` · ${found.km2.toLocaleString("en", { maximumSignificantDigits: 4 })} km²`;
  const parts = found.areas === null ? "; raise the score, or zoom in, to see areas" : ` in ${plural(found.areas, "area")}`;
  $("area-numbers").textContent = `${plural(found.tiles, "tile")}${size}${parts}`;
}

// One request at a time: the server does not stop one that nobody waits for.
async function draw() {
  if (asking) {
    outdated = true;
    return;
  }
  asking = new AbortController();
  const { signal } = asking;
  outdated = false;
  try {
    const found = await api.areas(wanted(), known.view.bounds(), signal);
    if (!signal.aborted && learned.answer) {
      known.view.showAreas(found);
      showNumbers(found);
    }
  } catch (error) {
    if (!signal.aborted) say(error.message);
  }
  asking = null;
  if (outdated && learned.answer) draw();
  else if (!waiting) $("areas").setAttribute("aria-busy", "false");
}

function later() {
  $("areas").setAttribute("aria-busy", "true");
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    if (learned.answer) draw();
  }, PAUSE);
}

function showThreshold() {
  const score = scoreOf(threshold);
  const said = promise();
  drawHistogram($("histogram"), learned.answer, threshold);
  $("threshold").setAttribute("aria-valuetext", `score ${score.toFixed(2)} or more; ${said}`);
  $("threshold-out").textContent = `score ≥ ${score.toFixed(2)}`;
  $("promise").textContent = said;
}

function move(cost) {
  threshold = Math.max(0, Math.round(cost));
  $("threshold").value = String(-threshold);
  showThreshold();
  later();
}

function choose(cost) {
  chosen = scoreOf(cost);
  move(cost);
}

function costOf(score) {
  const { offset, unit, low, high } = learned.answer;
  return Math.min(high, Math.max(low, Math.floor(offset + Math.log((1 - score) / score) / unit)));
}

function showPromises() {
  const { promise: found, limits, checked } = learned.answer;
  $("check").hidden = isComplete() || (found !== null && !hasBegun());
  $("check").textContent = hasBegun() ? "Go on with the check" : "Check random tiles";
  $("check-more").hidden = (!isComplete() && (found === null || hasBegun())) || numChecks() >= MOST_CHECKS;
  $("check-cost").hidden = $("check-more").hidden;
  $("check-cost").textContent = `A further check draws up to ${ROUND} tiles again and counts alone. Every check that you choose among adds its own chance of failure.`;
  $("checked").textContent = checked;
  $("promises").replaceChildren(...(found ? limits : []).map(({ precision, cost, problem }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = percent(precision);
    button.setAttribute("aria-label", `Show what is right in at least ${percent(precision)}`);
    button.addEventListener("click", () => (cost === null ? say(problem) : (say(), choose(cost))));
    return button;
  }));
}

function onAnswer(answer) {
  $("areas").hidden = !answer;
  if (!answer) {
    asking?.abort();
    $("areas").setAttribute("aria-busy", "false");
    known.view.showAreas(null);
    return;
  }
  const slider = $("threshold");
  slider.min = -answer.high;
  slider.max = -answer.low;
  slider.step = Math.max(1, Math.round((answer.high - answer.low) / STEPS));
  showPromises();
  move(costOf(chosen ?? 0.5));
}

async function download() {
  const format = $("area-format").value;
  $("area-download").disabled = true;
  try {
    const name = (concept.name || "areas").replace(/[^\p{L}\p{N} ._-]/gu, "_");
    save(await api.exportAreas({ ...wanted(), format }), `${name}.${format}`);
  } catch (error) {
    say(error.message);
  }
  $("area-download").disabled = false;
}

export function wireAreas() {
  onLearned(onAnswer);
  checkFrom(() => scoreOf(threshold + 0.5)); // between two costs, whatever the rounding
  watch(() => isOpen() || known.view.showAreas(null));
  $("threshold").addEventListener("input", () => choose(-Number($("threshold").value)));
  for (const name of ["area-dates", "area-least"]) $(name).addEventListener("change", later);
  $("check").addEventListener("click", () => startCheck());
  $("check-more").addEventListener("click", () => startCheck({ further: true }));
  $("area-download").addEventListener("click", download);
  known.view.map?.on("moveend", () => learned.answer && later());
}
