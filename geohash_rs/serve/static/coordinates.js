// Places as people type them: decimal degrees, degrees with minutes and seconds, or a tile id.

const NUMBER = String.raw`\d+(?:\.\d+)?`;
const ANGLE = String.raw`([+-]?${NUMBER})(?:\s*[°:]?\s*(?<![\d.])(${NUMBER})(?:\s*[':]?\s*(?<![\d.])(${NUMBER}))?)?\s*[°'"]*`;
const LETTERED = new RegExp(String.raw`^\s*(?:([NSEW])\s*${ANGLE}|${ANGLE}\s*([NSEW]))[\s,;]*(?:([NSEW])\s*${ANGLE}|${ANGLE}\s*([NSEW]))\s*$`, "i");
const MARKED = String.raw`([+-]?${NUMBER})\s*(?:°\s*(?:(${NUMBER})\s*'\s*(?:(${NUMBER})\s*")?)?)?`;
const PLAIN = new RegExp(String.raw`^\s*${MARKED}(?:\s*[,;]\s*|\s+)${MARKED}\s*$`);
const OFF = "is not on the globe: latitudes go to 90 degrees, longitudes to 180, minutes and seconds to 59";
const COMMAS = /^\s*([+-]?\d+),(\d+)(?:\s*;\s*|\s+)([+-]?\d+),(\d+)\s*$/; // decimal commas

// The signs that word processors and other maps write.
const plain = (text) =>
  text.replace(/[−–]/g, "-").replace(/[º˚]/g, "°").replace(/''|[″”“]/g, '"').replace(/[′’‘´]/g, "'").replace(COMMAS, "$1.$2 $3.$4");

function degrees(whole, minutes = "0", seconds = "0") {
  if (Number(minutes) >= 60 || Number(seconds) >= 60) return NaN;
  const size = Math.abs(Number(whole)) + Number(minutes) / 60 + Number(seconds) / 3600;
  return whole.startsWith("-") ? -size : size;
}

const shown = (value, plus, minus) => `${+Math.abs(value).toFixed(5)}° ${value < 0 ? minus : plus}`;
// The same longitude within -180 to 180 degrees.
export const turnedBack = (lng) => (Math.abs(lng) <= 180 ? lng : lng - 360 * Math.floor((lng + 180) / 360));
export const placeText = ({ lat, lng }) => `${shown(lat, "N", "S")}, ${shown(turnedBack(lng), "E", "W")}`;
const isPlace = ({ lat, lng }) => Math.abs(lat) <= 90 && Math.abs(lng) <= 360;

function within({ lat, lng }, bounds) {
  if (!bounds) return false;
  const [west, south, east, north] = bounds;
  return lat >= south && lat <= north && (((lng - west) % 360) + 360) % 360 <= east - west + (east < west ? 360 : 0);
}

function readLettered(parts) {
  const [a, b] = [parts.slice(1, 9), parts.slice(9, 17)].map((part) => {
    const letter = (part[0] ?? part[7]).toUpperCase();
    const [whole, minutes, seconds] = part[0] ? part.slice(1, 4) : part.slice(4, 7);
    const value = degrees(whole, minutes, seconds);
    return { axis: "NS".includes(letter) ? "lat" : "lng", value: "SW".includes(letter) ? -value : value };
  });
  if (a.axis === b.axis) return { problem: `names two ${a.axis === "lat" ? "latitudes" : "longitudes"}` };
  const place = { [a.axis]: a.value, [b.axis]: b.value };
  return isPlace(place) ? { ...place, said: placeText(place) } : { problem: OFF };
}

// Latitude first, as most maps write it, unless only the other way is on the globe or in the archive.
function readPlain(parts, bounds) {
  const [a, b] = [degrees(...parts.slice(1, 4)), degrees(...parts.slice(4, 7))];
  const [usual, other] = [{ lat: a, lng: b }, { lat: b, lng: a }];
  const [can, canOther] = [isPlace(usual), isPlace(other)];
  if (!can && !canOther) return { problem: OFF };
  if (!can) return { ...other, said: `${placeText(other)}: longitude first, since ${a} is not a latitude` };
  if (canOther && a !== b && within(other, bounds) && !within(usual, bounds)) {
    return { ...other, said: `${placeText(other)}: longitude first, since the archive lies there`, other: usual };
  }
  return { ...usual, said: `${placeText(usual)}${canOther && a !== b ? ": latitude first" : ""}`, other: canOther && a !== b ? other : undefined };
}

// A tile id as {id}, a place as {lat, lng, said} with the other way to read it, or {problem}.
// bounds are those of the archive.
export function readPlace(text, bounds = null) {
  const id = text.trim().match(/^\d{1,15}$/);
  if (id) return { id: Number(id[0]) };
  const clean = plain(text);
  const lettered = clean.match(LETTERED);
  if (lettered) return readLettered(lettered);
  const pair = clean.match(PLAIN);
  return pair ? readPlain(pair, bounds) : { problem: "is neither a tile id (such as 12) nor a place (such as 47.5, 8.25 or 8.25E 47.5N)" };
}
