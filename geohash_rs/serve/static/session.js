// The page's state: the query, the matches and the kept tiles, and the functions that show them.
import * as link from "./link.js";
import { keepFocus } from "./page.js";

// What the matches were searched with: asked identifies it, query is its examples in JSON.
export const state = { ...link.read(""), matches: [], asked: "", query: "", note: "", busy: false, kept: new Map() };
export const places = new Map(); // tile id -> footprint, of examples and matches
export const facts = new Map(); // tile id -> properties, of the same tiles
export const known = { archive: null, view: null };

export function learn({ geometry, properties }) {
  places.set(properties.tile_id, geometry);
  facts.set(properties.tile_id, properties);
}

const shows = [];
export const watch = (show) => shows.push(show);
export const show = () => keepFocus(() => shows.forEach((one) => one()));

export const tileIds = () => state.examples.filter((one) => one.id !== undefined).map((one) => one.id);
export const patchOf = () => state.examples.find((one) => one.codes);
