// Open the archive, show it on the map, and restore the search in the address.
import * as api from "./api.js";
import { wireAreas } from "./areas.js";
import { wireAsking } from "./asking.js";
import { wireConcept } from "./concept.js";
import { list, openDates, wireDates } from "./dates.js";
import { wireFilters } from "./filters.js";
import { wireJudge } from "./judge.js";
import { wireKept } from "./kept.js";
import { wireLegend } from "./legend.js";
import * as link from "./link.js";
import { makeMap, noMap } from "./map.js";
import { wireMarks } from "./marks.js";
import { wireMatches } from "./matches.js";
import { $, plural, say } from "./page.js";
import { restore } from "./search.js";
import { wireScenes } from "./scenes.js";
import { known, patchOf, show, state, watch } from "./session.js";
import { wireSteps } from "./steps.js";
import { wireTools } from "./tools.js";

function onView(tiles, wanted, error) {
  if (tiles) list(tiles.dates, wanted);
  $("in-view").textContent = tiles ? `${plural(tiles.count, "tile")} in view` : "";
  if (error) say(error.message);
  document.body.dataset.view = tiles?.kind ?? "";
}

function openMap(archive) {
  try {
    return makeMap({ archive, onView });
  } catch { // MapLibre throws without WebGL
    $("map").replaceChildren();
    for (const id of ["tools", "centre", "region-view", "scenes", "go-show"]) $(id).hidden = true;
    $("no-map").hidden = false;
    document.body.dataset.view = "none";
    return noMap();
  }
}

function wireLink() {
  watch(() => ($("copy-link").hidden = !state.examples.length));
  $("copy-link").addEventListener("click", async () => {
    const patch = patchOf();
    const short = !patch || link.write({ ...state, examples: [patch] }).includes("codes=");
    let said = short ? "Copied" : "Copied, without the patch";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch { // denied, or the page is neither served over HTTPS nor from this machine
      said = "Copy the address bar instead";
    }
    $("copy-link").textContent = said;
    setTimeout(() => ($("copy-link").textContent = "Copy link"), 2500);
  });
}

// Following the link would replace the search in the address.
function wireSkip() {
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("panel").focus();
  });
}

async function begin() {
  wireSkip();
  let archive;
  try {
    archive = await api.archive();
  } catch (error) {
    say(error.message);
    $("archive-facts").textContent = "could not be opened";
    return;
  }
  $("archive-name").textContent = archive.name;
  document.title = `${archive.name} – search by appearance`;
  const facts = [plural(archive.num_tiles, "tile"), plural(archive.num_scenes, "scene"), archive.num_bits ? `${archive.num_bits} bits` : "no codes yet"];
  $("archive-facts").textContent = facts.join(" · ");
  if (!archive.num_tiles) {
    $("how-to-start").textContent = `${archive.name} holds no tiles; add scenes with 'geohash-rs index', then load the page again.`;
    $("nothing-yet").textContent = "";
    for (const id of ["choose", "centre"]) $(id).hidden = true;
  }
  known.archive = archive;
  const { day, scene, from, to, size } = link.read(location.hash); // what the map shows first
  Object.assign(state, { day, scene, from, to, size });
  openDates();
  known.view = openMap(archive);
  if (known.view.map) {
    wireTools();
    wireLegend();
  }
  wireMarks(); // before all that shows the marks
  wireAsking();
  wireFilters();
  wireDates();
  wireConcept();
  wireJudge();
  wireAreas();
  wireMatches();
  wireKept();
  wireLink();
  wireScenes();
  show();
  await known.view.ready;
  wireSteps({ onArrival: restore });
  restore({ fit: true });
}

begin();
