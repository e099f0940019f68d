// Draw a box or a polygon on the map, by mouse, pen or finger.

const MOST_CORNERS = 200;
const box = (a, b) => {
  const [west, east] = [Math.min(a.lng, b.lng), Math.max(a.lng, b.lng)];
  const [south, north] = [Math.min(a.lat, b.lat), Math.max(a.lat, b.lat)];
  return { type: "Polygon", coordinates: [[[west, south], [east, south], [east, north], [west, north], [west, south]]] };
};

// show(geometry | null) previews; done(geometry | null) ends, null if nothing was drawn.
export function drawBox(map, { show, done }) {
  let from = null;
  map.dragPan.disable();
  map.boxZoom.disable();
  map.getCanvas().style.cursor = "crosshair";
  const begin = (event) => {
    if (event.originalEvent.touches?.length > 1) return;
    from = event.lngLat;
  };
  const move = (event) => from && show(box(from, event.lngLat));
  const finish = (event) => {
    if (!from) return;
    const drawn = box(from, event.lngLat);
    const [a, , c] = drawn.coordinates[0].map((corner) => map.project(corner));
    stop(Math.abs(a.x - c.x) > 4 && Math.abs(a.y - c.y) > 4 ? drawn : null);
  };
  const stop = (result) => {
    for (const [name, handler] of handlers) map.off(name, handler);
    map.dragPan.enable();
    map.boxZoom.enable();
    map.getCanvas().style.cursor = "";
    done(result);
  };
  const handlers = [["mousedown", begin], ["touchstart", begin], ["mousemove", move], ["touchmove", move], ["mouseup", finish], ["touchend", finish]];
  for (const [name, handler] of handlers) map.on(name, handler);
  return { cancel: () => stop(null), finish: () => {} };
}

export function drawPolygon(map, { show, done }) {
  const corners = [];
  map.doubleClickZoom.disable();
  map.getCanvas().style.cursor = "crosshair";
  const closed = (points) => ({ type: "Polygon", coordinates: [[...points, points[0]]] });
  const line = (points) => (points.length > 2 ? closed(points) : { type: "LineString", coordinates: points });
  const add = (event) => {
    const point = [event.lngLat.lng, event.lngLat.lat];
    const last = corners.at(-1);
    if (last && map.project(last).dist(map.project(point)) < 4) return;
    corners.push(point);
    if (corners.length >= MOST_CORNERS) finish();
  };
  const move = (event) => corners.length && show(line([...corners, [event.lngLat.lng, event.lngLat.lat]]));
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
