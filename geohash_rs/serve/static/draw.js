// Draw a box or a polygon on the map, by mouse, pen or finger.

const MOST_CORNERS = 200;
const SMALLEST = 4; // px; a shorter drag counts as a click
const NEAR = 12; // px; a click this near the first corner closes the polygon
const boxOf = (a, b) => {
  const [west, east] = [Math.min(a.lng, b.lng), Math.max(a.lng, b.lng)];
  const [south, north] = [Math.min(a.lat, b.lat), Math.max(a.lat, b.lat)];
  return { type: "Polygon", coordinates: [[[west, south], [east, south], [east, north], [west, north], [west, south]]] };
};

// show(geometry | null, corners) previews; done(geometry | null) ends; null means nothing was drawn.
export function drawBox(map, { show, done }) {
  const stage = map.getCanvasContainer();
  let from = null; // start of the drag, px
  map.dragPan.disable();
  map.boxZoom.disable();
  stage.classList.add("drawing"); // keeps a drawing finger from scrolling the page
  map.getCanvas().style.cursor = "crosshair";
  const at = (event) => {
    const { left, top } = stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  };
  const drawn = (to) => boxOf(map.unproject(from), map.unproject(to));
  const drop = () => {
    from = null;
    show(null);
  };
  const begin = (event) => {
    if (!event.isPrimary) return drop(); // a second finger zooms
    if (event.button !== 0) return;
    from = at(event);
    stage.setPointerCapture(event.pointerId); // the drag may end outside the map
  };
  const move = (event) => from && event.isPrimary && show(drawn(at(event)));
  const finish = (event) => {
    if (!from || !event.isPrimary) return;
    const to = at(event);
    if (from.every((value, axis) => Math.abs(value - to[axis]) > SMALLEST)) stop(drawn(to));
    else drop();
  };
  const stop = (result) => {
    for (const [name, handler] of handlers) stage.removeEventListener(name, handler);
    map.dragPan.enable();
    map.boxZoom.enable();
    stage.classList.remove("drawing");
    map.getCanvas().style.cursor = "";
    done(result);
  };
  const handlers = [["pointerdown", begin], ["pointermove", move], ["pointerup", finish], ["pointercancel", drop]];
  for (const [name, handler] of handlers) stage.addEventListener(name, handler);
  return { cancel: () => stop(null), finish: () => {} };
}

export function drawPolygon(map, { show, done }) {
  const corners = [];
  map.doubleClickZoom.disable();
  map.getCanvas().style.cursor = "crosshair";
  const closed = (points) => ({ type: "Polygon", coordinates: [[...points, points[0]]] });
  const shape = (points) => (points.length > 2 ? closed(points) : { type: "LineString", coordinates: points });
  const near = (corner, { point }, reach) => map.project(corner).dist(point) < reach;
  const add = (event) => {
    if (corners.length && near(corners.at(-1), event, SMALLEST)) return; // second half of a double click
    if (corners.length > 2 && near(corners[0], event, NEAR)) return finish();
    corners.push([event.lngLat.lng, event.lngLat.lat]);
    show(shape(corners), corners);
    if (corners.length >= MOST_CORNERS) finish();
  };
  const move = ({ lngLat }) => corners.length && show(shape([...corners, [lngLat.lng, lngLat.lat]]), corners);
  const finish = () => stop(corners.length >= 3 ? closed(corners) : null);
  const twice = (event) => {
    event.preventDefault();
    finish();
  };
  const stop = (result) => {
    for (const [name, handler] of handlers) map.off(name, handler);
    setTimeout(() => map.doubleClickZoom.enable(), 300);
    map.getCanvas().style.cursor = "";
    done(result);
  };
  const handlers = [["click", add], ["mousemove", move], ["dblclick", twice]];
  for (const [name, handler] of handlers) map.on(name, handler);
  return { cancel: () => stop(null), finish };
}
