// The query: good and bad examples, and the ways to choose the first one.
import * as api from "./api.js";
import { example, moment } from "./cards.js";
import { openFile } from "./concept.js";
import { placeText, readPlace } from "./coordinates.js";
import * as link from "./link.js";
import { $, plural, say } from "./page.js";
import { change, search, startOver, useFile, usePlace, useTile } from "./search.js";
import { facts, known, places, state, watch } from "./session.js";
import { look } from "./steps.js";

const PATCH_ICON = "/static/icon.svg";
let drawn = "";
let noted = null; // the search that the note on a typed place belongs to
let swap = null; // goes to a typed place read the other way round

function showChips() {
  const here = (id) => [id, places.has(id), facts.has(id)];
  const aboutTile = (id) => (facts.has(id) ? [moment(facts.get(id)), facts.get(id).scene_name] : []);
  const now = JSON.stringify([state.examples.map((one) => [one.codes, ...here(one.id)]), state.negatives.map(here)]);
  if (now === drawn) return; // keeps the focus
  drawn = now;
  $("examples").replaceChildren(...state.examples.map((one) => {
    const text = one.codes ? one.name : `tile ${one.id}`;
    return example({
      source: one.codes ? (one.picture ?? PATCH_ICON) : api.thumbnail(one.id, 96),
      text,
      about: one.codes ? [] : aboutTile(one.id),
      removeText: `Remove ${text} from the examples`,
      onRemove: () => change(() => (state.examples = state.examples.filter((other) => other !== one))),
    });
  }));
  $("negatives").replaceChildren(...state.negatives.map((id) =>
    example({
      source: api.thumbnail(id, 96),
      text: `tile ${id}`,
      about: aboutTile(id),
      removeText: `Remove tile ${id} from the bad examples`,
      onRemove: () => change(() => (state.negatives = state.negatives.filter((other) => other !== id))),
    })));
  const good = state.examples.map((one) => (one.codes ? one.place : places.get(one.id)));
  known.view.showExamples(good, state.negatives.map((id) => places.get(id)));
}

// What was decided about the bands of a patch and may be wrong.
function showNotes() {
  const notes = state.examples.flatMap((one) => one.notes ?? []);
  $("patch-notes").textContent = notes.join(" ");
  $("patch-notes").hidden = !notes.length;
}

function show() {
  showChips();
  if (noted !== null && noted !== link.write(state)) {
    $("go-note").hidden = true;
    noted = null;
  }
  showNotes();
  const any = state.examples.length > 0;
  const bad = state.negatives.length;
  $("start").hidden = any;
  $("clear").hidden = !any && !bad;
  $("negatives-part").hidden = !bad;
  $("go-add").hidden = !any;
  $("ask-again").hidden = !any || state.busy || !state.matches.length || link.searched(state) === state.asked;
  $("again-note").textContent = `with ${plural(state.examples.length, "good", "good")}${bad ? ` and ${bad} bad` : ""}`;
}

// Show a place, and search with the tile there unless only the map was wanted.
async function goTo(place, { more = false, only = false } = {}) {
  noted = null;
  $("go-note").hidden = false;
  $("go-said").textContent = `Read as ${place.said}.`;
  $("go-swap").hidden = !place.other;
  swap = place.other && (() => goTo({ ...place.other, said: placeText(place.other) }, { more, only }));
  if (only) look(() => known.view.goTo(place));
  else {
    const id = await usePlace(place, { more });
    if (id !== null) {
      known.view.goTo(place);
      known.view.fit([places.get(id)]);
    }
  }
  noted = link.write(state);
}

async function go(event) {
  event.preventDefault();
  const place = readPlace($("go").value, known.archive.bounds);
  $("go-note").hidden = true;
  if (place.problem) {
    say(`“${$("go").value}” ${place.problem}.`);
    return;
  }
  say();
  const more = event.submitter === $("go-add");
  const only = event.submitter === $("go-show");
  if (place.id === undefined) await goTo(place, { more, only });
  else if (only) await showTile(place.id);
  else await useId(place.id, { more });
}

// Search with a tile, if the archive has it; otherwise the search on the page stays.
async function useId(id, { more }) {
  try {
    const tile = await api.tile(id);
    await useTile(id, { more });
    known.view.fit([tile.geometry]);
  } catch (error) {
    say(error.message);
  }
}

async function showTile(id) {
  try {
    const { geometry } = await api.tile(id);
    look(() => known.view.fit([geometry]));
    known.view.point(geometry);
  } catch (error) {
    say(error.message);
  }
}

function wireDrop() {
  let depth = 0;
  const files = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => files(event) && (depth += 1, ($("drop").hidden = false)));
  addEventListener("dragleave", (event) => files(event) && (depth -= 1) <= 0 && ($("drop").hidden = true));
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    $("drop").hidden = true;
    const file = event.dataTransfer?.files[0];
    if (file) (file.name.endsWith(".concept") ? openFile : useFile)(file);
  });
}

export function wireAsking() {
  watch(show);
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files[0]) useFile($("file").files[0]);
    $("file").value = "";
  });
  $("centre").addEventListener("click", () => usePlace(known.view.map.getCenter()));
  $("again").addEventListener("click", () => search());
  $("clear").addEventListener("click", startOver);
  $("go-form").addEventListener("submit", go);
  $("go-swap").addEventListener("click", () => swap());
  wireDrop();
}
