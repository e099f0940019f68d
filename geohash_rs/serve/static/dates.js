// The bar of dates: which day, and which scene of it, the map shows and a click takes.
import * as link from "./link.js";
import { $, plural } from "./page.js";
import { known, show, state, watch } from "./session.js";
import { step } from "./steps.js";

const PAUSE = 80; // ms on a date before the map is drawn
const LABEL = 34; // px that a year takes
const UNDATED = "undated";

let dates = []; // { day, tiles, scenes } of the view, the earliest first
let slots = []; // days of the slider; after them comes "all dates"
let when; // the time range with which they were asked for
let drawn = null;
let ticks = "";
let waiting = 0;

export const dayOf = ({ datetime }) => datetime?.slice(0, 10) ?? UNDATED;

// What the map shows, as the server is asked for it.
export const shown = () => ({
  day: state.day || null,
  scene: state.scene || null,
  time: state.from || state.to ? `${state.from || ".."}/${state.to || ".."}` : null,
  tile_size: state.size,
});

// Whether a tile is of the day and scene that are chosen.
export const isShown = (tile) => (!state.day || dayOf(tile) === state.day) && (!state.scene || tile.scene_name === state.scene);

// Show a day; "" shows all of them, the latest on top. With `amend`, the history has no step for it.
export function choose(day, scene = "", { amend = false } = {}) {
  if (day === state.day && scene === state.scene) return;
  Object.assign(state, { day, scene });
  step(link.write(state), { kind: "date", amend });
  show();
}

// Show the day of a tile, unless it is what the map shows anyway.
export function showDateOf(tile) {
  const isTop = !state.day && dayOf(tile) === slots.at(-1);
  if (!$("dates").hidden && !isTop && (!state.day || !isShown(tile))) choose(dayOf(tile));
}

// Show a scene of the archive, if its date is known.
export function showScene({ name, date }) {
  if (!$("dates").hidden && date) choose(date, name);
}

// Take over the dates of the tiles in view, which were asked for with a time range. A day that a new
// range leaves out is given up.
export function list(found, { time }) {
  const isGone = when !== undefined && when !== time && state.day && !found.some(({ day }) => day === state.day);
  when = time;
  dates = found;
  if (isGone) choose("", "", { amend: true });
  else showBar();
}

const nameOf = (day) => (day === UNDATED ? "no date" : day);

function describe() {
  if (state.day) {
    const one = dates.find(({ day }) => day === state.day);
    return one ? nameOf(state.day) : `${nameOf(state.day)}, nothing here`;
  }
  if (dates.length > 1) return `${plural(dates.length, "date")}, latest on top`;
  return dates.length ? nameOf(dates[0].day) : "no tile here";
}

function showBar() {
  const days = dates.map(({ day }) => day);
  const order = (day) => (day === UNDATED ? "" : day);
  if (state.day && !days.includes(state.day)) days.push(state.day);
  slots = days.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const { time } = known.archive;
  const several = slots.length > 1 || Boolean(state.day) || (time !== null && time[0] !== time[1]);
  $("dates").hidden = !several;
  $("stage").classList.toggle("dated", several);
  const at = state.day ? slots.indexOf(state.day) : slots.length;
  $("date").max = slots.length;
  $("date").value = at;
  $("date").setAttribute("aria-valuetext", state.day ? describe() : `all dates: ${describe()}`);
  $("date-text").textContent = describe();
  $("date-all").setAttribute("aria-pressed", String(!state.day));
  $("date-before").disabled = at === 0;
  $("date-after").disabled = at === slots.length;
  showScenes(dates.find(({ day }) => day === state.day)?.scenes ?? []);
  drawTicks();
}

function showScenes(scenes) {
  const names = state.scene && !scenes.includes(state.scene) ? [state.scene, ...scenes] : scenes;
  $("date-scene").hidden = !state.day || names.length < 2;
  const options = [new Option(`all ${plural(names.length, "scene")}`, ""), ...names.map((name) => new Option(name, name))];
  $("date-scene").replaceChildren(...options);
  $("date-scene").value = state.scene;
}

// A line for each day, longer where a year begins; as many years as there is room for.
function drawTicks() {
  const width = $("date-ticks").clientWidth;
  const now = JSON.stringify([width, slots]);
  if (now === ticks || !width) return;
  ticks = now;
  const make = (name, attributes, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  let year = "";
  let free = -Infinity;
  const parts = slots.flatMap((day, at) => {
    const x = (at / slots.length) * width;
    const isNew = day.slice(0, 4) !== year && day !== UNDATED;
    year = day.slice(0, 4);
    const line = make("line", { x1: x, x2: x, y1: 0, y2: isNew ? 6 : 4 });
    if (!isNew || x < free) return [line];
    free = x + (at ? LABEL : 1.4 * LABEL); // the first begins at its line
    return [line, make("text", { x, y: 15, "text-anchor": at ? "middle" : "start" }, year)];
  });
  const end = make("text", { x: width, y: 15, "text-anchor": "end" }, "all");
  $("date-ticks").replaceChildren(...parts, ...(free <= width ? [end] : []));
}

function follow() {
  showBar();
  const now = JSON.stringify(shown());
  if (now === drawn) return;
  const isFirst = drawn === null;
  drawn = now;
  if (isFirst) return; // the map is drawn as it opens
  known.view.showMatches(state.matches);
  clearTimeout(waiting);
  waiting = setTimeout(known.view.redraw, PAUSE);
}

// Make room for the bar before the map is fitted into what is left.
export function openDates() {
  const { time } = known.archive;
  $("stage").classList.toggle("dated", time !== null && time[0] !== time[1]);
}

export function wireDates() {
  watch(follow);
  const chooseAt = (at) => choose(slots[at] ?? "");
  $("date").addEventListener("input", () => chooseAt(Number($("date").value)));
  $("date-before").addEventListener("click", () => chooseAt(Number($("date").value) - 1));
  $("date-after").addEventListener("click", () => chooseAt(Number($("date").value) + 1));
  $("date-all").addEventListener("click", () => choose(""));
  $("date-scene").addEventListener("change", () => choose(state.day, $("date-scene").value));
  addEventListener("resize", drawTicks);
}
