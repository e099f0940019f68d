// Write matches as GeoJSON and CSV, with the columns of the package's own exports.
"use strict";

const FIELDS = ["rank", "distance", "similarity", "tile_id", "scene", "col", "row", "width", "height", "datetime", "datetime_end", "label", "tile_size", "source"];
const ALWAYS = 10; // of these are there even if empty
const CONTROLS = /[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;
const FORMULA = /(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])/g;

// Text that anybody may have chosen, with nothing that a terminal or a page acts on.
const plainText = (text) =>
  text.replace(CONTROLS, (found) => [...Array(found.length).keys()].map((at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""));
// What a spreadsheet shows as text, not as a formula.
const plainCell = (text) => plainText(text).replace(FORMULA, "$1'");

const fieldsOf = (matches) => FIELDS.filter((name, at) => at < ALWAYS || matches.some((match) => (match[name] ?? null) !== null));

function geoJsonText(matches) {
  const names = fieldsOf(matches);
  const features = matches.map((match) => {
    const properties = Object.fromEntries(names.map((name) => [name, match[name] ?? null]));
    return JSON.stringify({ type: "Feature", geometry: match.shape && geoJson(match.shape), properties });
  });
  // the texts hold no line breaks: JSON escapes them
  return `{"type": "FeatureCollection", "features": [\n${features.map(plainText).join(",\n")}\n]}\n`;
}

function csvText(matches) {
  const names = fieldsOf(matches);
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const text = plainCell(value);
    return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = matches.map((match) => [...names.map((name) => cell(match[name])), match.shape ? `"${wktOf(geoJson(match.shape))}"` : ""].join(","));
  return `${[[...names, "WKT"].join(","), ...lines].join("\n")}\n`;
}

function wktOf({ type, coordinates, geometries }) {
  if (geometries) return `GEOMETRYCOLLECTION (${geometries.map(wktOf).join(", ")})`;
  const text = (part) => (typeof part[0] === "number" ? part.join(" ") : part.map((one) => (typeof one[0] === "number" ? text(one) : `(${text(one)})`)).join(", "));
  return `${type.toUpperCase()} (${text(coordinates)})`;
}

function saveFile(name, kind, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
