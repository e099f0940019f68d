// The list of scenes, read a page at a time; a click shows where one lies.
import * as api from "./api.js";
import { make } from "./cards.js";
import { showScene } from "./dates.js";
import { $, plural, say } from "./page.js";
import { known } from "./session.js";
import { look } from "./steps.js";

const PAUSE = 200; // ms without typing before the server is asked
const FEW = 12; // scenes that need no search
let asking = null;

function item({ name, date, num_tiles: tiles, bounds }) {
  const about = [date ?? "no date", tiles ? plural(tiles, "tile") : null, bounds ? null : "not on the map"].filter(Boolean).join(", ");
  const button = make("button", { type: "button", class: "scene", disabled: !bounds, title: name }, make("b", {}, name), make("span", {}, about));
  if (bounds) {
    const [west, south, east, north] = bounds;
    button.addEventListener("click", () => look(() => {
      showScene({ name, date });
      known.view.fit([{ type: "LineString", coordinates: [[west, south], [east, north]] }], { maxZoom: 17 });
    }));
  }
  return make("li", {}, button);
}

async function list(start) {
  asking?.abort();
  const { signal } = (asking = new AbortController());
  try {
    const { total, scenes } = await api.sceneList($("scene-text").value.trim(), start, signal);
    if (signal.aborted) return;
    const items = scenes.map(item);
    if (start) $("scene-list").append(...items);
    else $("scene-list").replaceChildren(...items);
    const listed = $("scene-list").children.length;
    $("scenes-said").textContent = total ? `${listed < total ? `${listed.toLocaleString("en")} of ` : ""}${plural(total, "scene")}` : "No scene has such a name or date.";
    $("scenes-more").hidden = listed >= total;
    if (start) items[0]?.firstChild.focus({ preventScroll: true }); // the button may be gone
  } catch (error) {
    if (!signal.aborted) say(error.message);
  }
}

export function wireScenes() {
  const { num_scenes: count } = known.archive;
  $("scenes-note").textContent = count.toLocaleString("en");
  $("scenes").hidden ||= !count;
  $("scene-find").hidden = count <= FEW;
  let waiting = 0;
  $("scenes").addEventListener("toggle", () => $("scenes").open && list(0));
  $("scene-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => list(0), PAUSE);
  });
  $("scenes-more").addEventListener("click", () => list($("scene-list").children.length));
}
