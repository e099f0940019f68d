// What this page knows: what is asked, found and kept; and who shows it.
import * as link from "./link.js";
import { keepFocus } from "./page.js";

// asked and query name the search that gave the matches: with its filters, and without.
export const state = { ...link.read(""), matches: [], asked: "", query: "", note: "", busy: false, kept: new Map() };
export const places = new Map(); // tile id -> footprint, of examples and matches
export const known = { archive: null, view: null };

const shows = [];
export const watch = (show) => shows.push(show);
export const show = () => keepFocus(() => shows.forEach((one) => one()));

export const tileIds = () => state.examples.filter((one) => one.id !== undefined).map((one) => one.id);
export const patchOf = () => state.examples.find((one) => one.codes);
