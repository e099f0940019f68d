// The concept: its name, what was judged, and what the server has learned from it.
import * as api from "./api.js";
import { canRedo, canUndo, concept, forget, kept, numRight, numWrong, openKept, redo, rename, request, undo, use } from "./marks.js";
import { $, plural, save, say } from "./page.js";
import { search } from "./search.js";
import { show as showAll, state, watch } from "./session.js";

const MOST_FILE = 1_800_000; // characters that the server takes with each request
const PAUSE = 300; // ms without another judgement before the server learns
export const learned = { answer: null, key: "", busy: false };

let waiting = 0;
let learning = null;
const listeners = [];
// Called with each new answer, or with null when there is nothing learned.
export const onLearned = (listener) => listeners.push(listener);

let patient = () => false; // whether to wait for further judgements
export const waitIf = (condition) => (patient = condition);

export const isOpen = () => $("concept").open && numRight() > 0;

function tell(answer) {
  learned.answer = answer;
  listeners.forEach((listener) => listener(answer));
}

function stop() {
  clearTimeout(waiting);
  learning?.abort();
  Object.assign(learned, { key: "", busy: false });
  if (learned.answer) tell(null);
}

async function learn(asked, key) {
  const { signal } = (learning = new AbortController());
  try {
    const answer = await api.learn(asked, signal);
    if (signal.aborted) return;
    learned.busy = false;
    tell(answer);
  } catch (error) {
    if (signal.aborted) return;
    learned.busy = false;
    tell(null);
    say(error.message);
  }
  learned.key = key;
  showAll();
}

// Ask the server again if the marks or the filters changed.
function follow() {
  if (!isOpen()) return stop();
  const asked = request();
  const key = JSON.stringify({ ...asked, name: "" });
  if (key === learned.key || patient()) return;
  clearTimeout(waiting);
  learning?.abort();
  Object.assign(learned, { key, busy: true });
  waiting = setTimeout(() => learn(asked, key), PAUSE);
}

function show() {
  const names = Object.keys(kept()).sort();
  const any = numRight() > 0;
  $("concept").hidden = !any && !names.length;
  $("concept-body").hidden = !any;
  $("concept-note").textContent = any ? `${numRight()} right, ${numWrong()} wrong` : "";
  if (document.activeElement !== $("concept-name")) $("concept-name").value = concept.name;
  $("concept-name").disabled = !any;
  const list = JSON.stringify([names, concept.name]);
  if ($("concept-list").dataset.list !== list) {
    $("concept-list").dataset.list = list;
    $("concept-list").replaceChildren(new Option("Open…", ""), ...names.map((name) => new Option(name, name)));
  }
  $("concept-list").disabled = !names.length;
  $("concept-new").disabled = !any;
  $("concept-delete").hidden = !concept.name;
  const abroad = concept.others.length;
  $("concept-marks").textContent = `${numRight()} right, ${numWrong()} wrong${abroad ? `, ${abroad} of them not tiles of this archive` : ""}`;
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
  $("concept-state").textContent = learned.busy ? "learning …" : "";
  $("concept-doubts").textContent = (learned.answer?.notes ?? []).join(" ");
  $("concept-doubts").hidden = !learned.answer?.notes.length;
}

function name() {
  const wanted = $("concept-name").value.trim();
  if (wanted === concept.name) return;
  if (wanted && Object.hasOwn(kept(), wanted)) {
    say(`There is a concept “${wanted}” already; choose another name, or open it.`);
    $("concept-name").value = concept.name;
    return;
  }
  say();
  if (wanted) rename(wanted);
  else $("concept-name").value = concept.name;
}

async function saveFile() {
  try {
    const file = (concept.name || "concept").replace(/[^\p{L}\p{N} ._-]/gu, "_");
    save(await api.saveConcept(request()), `${file}.concept`);
  } catch (error) {
    say(error.message);
  }
}

export async function openFile(file) {
  say();
  try {
    const text = await file.text();
    const { name: given, right, wrong, others, hasher } = await api.openConcept(text);
    const taken = Object.hasOwn(kept(), given);
    use({ name: taken ? "" : given, examples: right.map((id) => ({ id })), negatives: wrong, others, hasher, file: text.length <= MOST_FILE ? text : null });
    $("concept").open = true;
    await search({ fit: true });
    if (!concept.name) say(`This browser keeps another concept “${given}”; name this one to keep it too.`);
  } catch (error) {
    say(error.message);
  }
}

function keys(event) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.closest("input:not([type=range], [type=checkbox]), textarea")) return;
  const key = event.key.toLowerCase();
  const move = key === "z" && !event.shiftKey ? undo : key === "y" || key === "z" ? redo : null;
  if (!move) return;
  event.preventDefault();
  move();
}

export function wireConcept() {
  watch(follow);
  watch(show);
  $("concept").addEventListener("toggle", showAll);
  $("concept-name").addEventListener("change", name);
  $("concept-list").addEventListener("change", () => {
    const chosen = $("concept-list").value;
    $("concept-list").value = "";
    if (!chosen) return;
    openKept(chosen);
    search({ fit: true });
  });
  $("concept-new").addEventListener("click", () => {
    use({ examples: [], negatives: [] });
    search();
  });
  $("concept-delete").addEventListener("click", () => forget(concept.name));
  $("concept-save").addEventListener("click", saveFile);
  for (const id of ["concept-load", "concept-first"]) $(id).addEventListener("click", () => $("concept-file").click());
  $("concept-file").addEventListener("change", () => {
    if ($("concept-file").files[0]) openFile($("concept-file").files[0]);
    $("concept-file").value = "";
  });
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  document.addEventListener("keydown", keys);
}
