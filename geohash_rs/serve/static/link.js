// Convert a search to the part of the address after #, and back.

const ring = (polygon) => polygon.coordinates[0].map(([x, y]) => `${+x.toFixed(5)},${+y.toFixed(5)}`).join(";");
const numbers = (text) => text.split(",").map(Number).filter(Number.isFinite);
const MOST_CODES = 64; // mail programs truncate longer addresses

function polygon(text) {
  const points = text.split(";").map(numbers).filter((point) => point.length === 2);
  return points.length >= 4 ? { type: "Polygon", coordinates: [points] } : null;
}

const KEYS = ["tiles", "codes", "hasher", "patch", "place", "not", "k", "within", "region", "time", "size", "others", "distinct", "date", "scene"];

// Whether this is a search or empty; "#panel" is neither.
export function holds(text) {
  const names = [...new URLSearchParams(text.replace(/^#/, "")).keys()];
  return !names.length || names.some((name) => KEYS.includes(name));
}

export function write(state) {
  const parts = new URLSearchParams();
  const ids = state.examples.filter((one) => one.id !== undefined).map((one) => one.id);
  const patch = state.examples.find((one) => one.codes);
  if (ids.length) parts.set("tiles", ids.join(","));
  if (patch && patch.codes.length <= MOST_CODES) {
    parts.set("codes", patch.codes.join(","));
    if (patch.hasher) parts.set("hasher", patch.hasher);
    parts.set("patch", patch.name);
    if (patch.place?.type === "Polygon") parts.set("place", ring(patch.place));
  }
  if (state.negatives.length) parts.set("not", state.negatives.join(","));
  if (state.k !== 24) parts.set("k", state.k);
  if (state.radius !== null) parts.set("within", state.radius);
  if (state.region) parts.set("region", ring(state.region));
  if (state.from || state.to) parts.set("time", `${state.from}/${state.to}`);
  if (state.size !== null) parts.set("size", state.size);
  if (state.exclude) parts.set("others", "1");
  if (state.distinct) parts.set("distinct", "1");
  if (state.day) parts.set("date", state.day);
  if (state.scene) parts.set("scene", state.scene);
  return parts.toString().replaceAll("%2C", ",").replaceAll("%3B", ";").replaceAll("%2F", "/");
}

// What identifies a search: the date and scene that the map shows do not change its matches.
export const searched = (state) => write({ ...state, day: "", scene: "" });

export function read(text) {
  const parts = new URLSearchParams(text.replace(/^#/, ""));
  const whole = (name) => numbers(parts.get(name) ?? "").filter((id) => Number.isSafeInteger(id) && id >= 0);
  const examples = (parts.get("tiles") ? whole("tiles") : []).map((id) => ({ id }));
  const codes = (parts.get("codes") ?? "").split(",").filter((code) => /^([0-9a-f]{2})+$/.test(code));
  if (codes.length) {
    const hasher = parts.get("hasher");
    examples.push({ codes, hasher, name: parts.get("patch") ?? "patch", place: polygon(parts.get("place") ?? "") });
  }
  const [from = "", to = ""] = (parts.get("time") ?? "").split("/");
  const day = (value) => (/^\d{4}-\d\d-\d\d$/.test(value) ? value : "");
  const k = Number(parts.get("k") ?? 24);
  return {
    examples,
    negatives: parts.get("not") ? whole("not") : [],
    k: Number.isInteger(k) && k >= 1 && k <= 1000 ? k : 24,
    radius: parts.has("within") ? Math.max(0, Math.trunc(Number(parts.get("within"))) || 0) : null,
    region: polygon(parts.get("region") ?? ""),
    from: day(from),
    to: day(to),
    size: whole("size").find((size) => size >= 1) ?? null,
    exclude: parts.get("others") === "1",
    distinct: parts.get("distinct") === "1",
    day: /^(\d{4}-\d\d-\d\d|undated)$/.test(parts.get("date") ?? "") ? parts.get("date") : "",
    scene: parts.get("scene") ?? "",
  };
}
