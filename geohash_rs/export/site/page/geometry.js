// Footprints and regions: read WKB, and test exactly whether two geometries touch.
"use strict";

const POINT = 1, LINE = 2, POLYGON = 3;

// A shape is { points, lines, polygons }: [x, y], lists of these, and lists of closed rings.
function readShape(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = { points: [], lines: [], polygons: [] };
  let at = 0;
  const count = () => view.getUint32((at += 4) - 4, true);
  const number = () => view.getFloat64((at += 8) - 8, true);
  const corners = (many) => Array.from({ length: many }, () => [number(), number()]);
  const one = () => {
    if (view.getUint8(at++) !== 1) throw new Error("a footprint is not little-endian; export the archive again.");
    const kind = count();
    if (kind === POINT) shape.points.push(corners(1)[0]);
    else if (kind === LINE) shape.lines.push(corners(count()));
    else if (kind === POLYGON) shape.polygons.push(Array.from({ length: count() }, () => corners(count())));
    else for (let left = count(); left > 0; left--) one();
  };
  one();
  return shape;
}

const polygonShape = (polygons) => ({ points: [], lines: [], polygons });
const boxRing = ([w, s, e, n]) => [[w, s], [e, s], [e, n], [w, n], [w, s]];

function boundsOfShape({ points, lines, polygons }) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const corners of [points, ...lines, ...polygons.map((rings) => rings[0])]) {
    for (const [x, y] of corners) {
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    }
  }
  return box;
}

// A shape that is split at 180 degrees as one beyond 180; of any other, itself.
function unwrapped(shape) {
  const [west, , east] = boundsOfShape(shape);
  if (!(east - west > 180)) return shape;
  const turn = (corners) => corners.map(([x, y]) => [x < 0 ? x + 360 : x, y]);
  return { points: turn(shape.points), lines: shape.lines.map(turn), polygons: shape.polygons.map((rings) => rings.map(turn)) };
}

const boxesMeet = (a, b) => a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3];
const boxInside = (a, b) => a[0] >= b[0] && a[1] >= b[1] && a[2] <= b[2] && a[3] <= b[3];

// Which side of the line from a to b the point c is on: 1 left, -1 right, 0 on it; exact. Rounding
// cannot change a sign beyond the bound: Shewchuk, Adaptive Precision Floating-Point Arithmetic,
// 1997, https://doi.org/10.1007/PL00009321
const BOUND = 3.3306690738754716e-16;
function side(a, b, c) {
  const left = (a[0] - c[0]) * (b[1] - c[1]);
  const right = (a[1] - c[1]) * (b[0] - c[0]);
  const sum = left - right;
  if (Math.abs(sum) > BOUND * (Math.abs(left) + Math.abs(right))) return Math.sign(sum);
  return exactSide(a, b, c);
}

function exactSide(a, b, c) {
  const [ax, ay, bx, by, cx, cy] = wholeNumbers([...a, ...b, ...c]);
  const sum = (ax - cx) * (by - cy) - (ay - cy) * (bx - cx);
  return sum > 0n ? 1 : sum < 0n ? -1 : 0;
}

// Numbers as integers, all multiplied by the same power of two.
function wholeNumbers(values) {
  const view = new DataView(new ArrayBuffer(8));
  const parts = values.map((value) => {
    view.setFloat64(0, value);
    const bits = view.getBigUint64(0);
    const power = Number((bits >> 52n) & 2047n);
    const digits = (bits & ((1n << 52n) - 1n)) | (power ? 1n << 52n : 0n);
    return { digits: bits >> 63n ? -digits : digits, power: Math.max(power, 1) };
  });
  const least = Math.min(...parts.map(({ power }) => power));
  return parts.map(({ digits, power }) => digits << BigInt(power - least));
}

const between = (a, b, c) =>
  Math.min(a[0], b[0]) <= c[0] && c[0] <= Math.max(a[0], b[0]) && Math.min(a[1], b[1]) <= c[1] && c[1] <= Math.max(a[1], b[1]);
const onLine = (a, b, c) => between(a, b, c) && side(a, b, c) === 0;

function linesMeet(a, b, c, d) {
  if (Math.max(a[0], b[0]) < Math.min(c[0], d[0]) || Math.max(c[0], d[0]) < Math.min(a[0], b[0])) return false;
  if (Math.max(a[1], b[1]) < Math.min(c[1], d[1]) || Math.max(c[1], d[1]) < Math.min(a[1], b[1])) return false;
  const [p, q, r, s] = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)];
  if (p * q < 0 && r * s < 0) return true;
  return (p === 0 && between(a, b, c)) || (q === 0 && between(a, b, d)) || (r === 0 && between(c, d, a)) || (s === 0 && between(c, d, b));
}

const edgesOf = (corners) => corners.slice(1).map((corner, at) => [corners[at], corner]);
const edgesMeet = (these, those) => these.some(([a, b]) => those.some(([c, d]) => linesMeet(a, b, c, d)));

// Whether a point is in a polygon or on its outline.
function inPolygon(rings, point) {
  let inside = false;
  for (const ring of rings) {
    for (const [a, b] of edgesOf(ring)) {
      if (onLine(a, b, point)) return true;
      if (a[1] > point[1] !== b[1] > point[1] && side(a, b, point) === (b[1] > a[1] ? 1 : -1)) inside = !inside;
    }
  }
  return inside;
}

// Whether two shapes have a point in common; touching counts.
function shapesMeet(one, other) {
  if (!boxesMeet(boundsOfShape(one), boundsOfShape(other))) return false;
  const lines = (shape) => [...shape.lines, ...shape.polygons.flat()].flatMap(edgesOf);
  const [these, those] = [lines(one), lines(other)];
  if (edgesMeet(these, those)) return true;
  return cornerIn(one, other, those) || cornerIn(other, one, these);
}

// Whether one corner of each part of a shape lies in another shape; `edges` are those of the other.
function cornerIn(shape, other, edges) {
  const corners = [...shape.points, ...shape.lines.map((line) => line[0]), ...shape.polygons.map((rings) => rings[0][0])];
  return corners.some(
    (corner) =>
      other.polygons.some((rings) => inPolygon(rings, corner)) ||
      edges.some(([a, b]) => onLine(a, b, corner)) ||
      other.points.some(([x, y]) => x === corner[0] && y === corner[1]),
  );
}

// Whether a box lies in a polygon and meets no edge of it.
function boxInPolygon(box, rings) {
  const ring = boxRing(box);
  return inPolygon(rings, ring[0]) && !edgesMeet(edgesOf(ring), rings.flatMap(edgesOf));
}

function geoJson({ points, lines, polygons }) {
  const parts = [
    [points, "Point", "MultiPoint"],
    [lines, "LineString", "MultiLineString"],
    [polygons, "Polygon", "MultiPolygon"],
  ].filter(([found]) => found.length);
  const geometries = parts.map(([found, single, several]) =>
    found.length === 1 ? { type: single, coordinates: found[0] } : { type: several, coordinates: found },
  );
  return geometries.length === 1 ? geometries[0] : { type: "GeometryCollection", geometries };
}
