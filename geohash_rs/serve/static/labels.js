// Map labels drawn here as small images, so that no external fonts are loaded.

function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made.getContext("2d", { willReadFrequently: true });
}

export function badge(text) {
  const width = 22 + 14 * text.length;
  const c = canvas(width, 38);
  c.fillStyle = "#c3174b";
  c.strokeStyle = "#ffffff";
  c.lineWidth = 3;
  c.beginPath();
  c.roundRect(2, 2, width - 4, 34, 17);
  c.fill();
  c.stroke();
  c.fillStyle = "#ffffff";
  c.font = "bold 24px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "middle";
  c.fillText(text, width / 2, 20);
  return c.getImageData(0, 0, width, 38);
}

export function label(text, { label: ink, halo }) {
  const font = "21px system-ui, sans-serif";
  const measure = canvas(1, 1);
  measure.font = font;
  const width = Math.ceil(measure.measureText(text).width) + 16;
  const c = canvas(width, 34);
  c.font = font;
  c.textBaseline = "middle";
  c.lineJoin = "round";
  c.lineWidth = 6;
  c.globalAlpha = 0.9;
  c.strokeStyle = halo;
  c.strokeText(text, 8, 17);
  c.globalAlpha = 1;
  c.fillStyle = ink;
  c.fillText(text, 8, 17);
  return c.getImageData(0, 0, width, 34);
}
