// The matches as a list of cards; text from the archive is inserted as text, never as markup.
import * as api from "./api.js";

const ICONS = {
  up: "M7 21H4V10h3zM7 10l4-7c1.6 0 2.4 1.2 2 3l-.7 3H18c1.5 0 2.3 1.2 2 2.6l-1.5 7c-.3 1.4-1.2 2.4-2.6 2.4H7",
  down: "M17 3h3v11h-3zM17 14l-4 7c-1.6 0-2.4-1.2-2-3l.7-3H6c-1.5 0-2.3-1.2-2-2.6l1.5-7C5.800 4 6.700 3 8.100 3H17",
  keep: "M6 3h12v18l-6-4.500L6 21z",
};

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function picture(source, alt) {
  const image = make("img", { src: source, alt, loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { class: "none", role: "img", "aria-label": alt }, "no picture"));
  });
  return image;
}

const day = (moment) => (moment ? moment.slice(0, 10) : "no date");

const sizeOf = ({ tile_size: size, width, height }) => size ?? Math.max(width, height);

export function card(match, { numBits, several, on }) {
  const { rank, distance, similarity, tile_id: id, scene, source, scene_name: name, datetime } = match.properties;
  const about = `Match ${rank}: tile ${id}, ${distance} of ${numBits} bits differ, ${day(datetime)}`;
  const show = make("button", { type: "button", class: "picture", "aria-label": `${about}. Show on the map`, title: scene },
    picture(api.thumbnail(id), ""), make("span", { class: "rank", "aria-hidden": "true" }, String(rank)));
  show.addEventListener("click", () => on.show(match));
  const act = (kind, text) => {
    const button = make("button", { type: "button", class: `act ${kind}`, "aria-pressed": "false", "aria-label": `${text}: match ${rank}`, title: text }, icon(kind));
    button.addEventListener("click", () => on[kind](match));
    return button;
  };
  const item = make("li", { class: "card", "data-tile": id }, show,
    make("div", { class: "facts" },
      make("b", {}, `${distance} bit${distance === 1 ? "" : "s"}`),
      make("meter", { min: 0, max: 1, value: similarity, "aria-label": `similarity of match ${rank}` }),
      make("span", {}, several ? `${sizeOf(match.properties)} px, ${day(datetime)}` : day(datetime)), make("span", { title: source ?? scene }, name)),
    make("div", { class: "acts" }, act("up", "Like this"), act("down", "Not like this"), act("keep", "Keep")));
  item.addEventListener("pointerenter", () => on.point(match));
  item.addEventListener("pointerleave", () => on.point(null));
  item.addEventListener("focusin", () => on.point(match));
  return item;
}

export function mark(item, { good, bad, kept }) {
  item.classList.toggle("good", good);
  item.classList.toggle("bad", bad);
  const press = (kind, on) => item.querySelector(`.act.${kind}`).setAttribute("aria-pressed", String(on));
  press("up", good);
  press("down", bad);
  press("keep", kept);
}

// When a tile was taken, as exactly as is known: whole days without times.
export function moment({ datetime, datetime_end: end }) {
  if (!datetime) return "no date";
  const exact = (text, whole) => text.replace(whole, "").replace("T", " ").replace("Z", " UTC");
  const first = exact(datetime, /T00:00:00Z$/);
  const last = end ? exact(end, /T(23:59:59(\.9+)?|00:00:00)Z$/) : first;
  return first === last ? first : `${first} to ${last}`;
}

export function example({ source, text, about = [], removeText, onRemove }) {
  const remove = make("button", { type: "button", "aria-label": removeText, title: removeText }, "×");
  remove.addEventListener("click", onRemove);
  return make("li", {}, picture(source, text), make("span", { title: [text, ...about].join(", ") }, text), ...about.map((fact) => make("span", { class: "about" }, fact)), remove);
}
