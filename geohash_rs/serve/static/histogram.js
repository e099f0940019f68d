// The scores of all tiles as bars, the number on a logarithmic scale; the best are on the right.

const [WIDTH, HEIGHT, FOOT] = [320, 84, 8]; // FOOT: room for the marks below the bars
const svg = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

// Costs fall from left to right, as a slider of the score rises.
const across = (cost, { low, high }) => (WIDTH * (high - cost)) / Math.max(high - low, 1);

function bars(answer, wanted) {
  const { counts, low, width } = answer;
  const top = Math.log1p(Math.max(...counts));
  return counts
    .map((count, at) => {
      const [near, far] = [low + at * width, low + (at + 1) * width];
      if (!count || !wanted(near)) return "";
      const [left, right] = [across(far, answer), across(near, answer)];
      return `M${left.toFixed(1)} ${HEIGHT}V${(HEIGHT - (Math.log1p(count) / top) * (HEIGHT - 4)).toFixed(1)}H${right.toFixed(1)}V${HEIGHT}z`;
    })
    .join("");
}

export function drawHistogram(element, answer, threshold) {
  element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT + FOOT}`);
  const ticks = (costs, kind) => {
    const inside = costs.filter((cost) => cost >= answer.low && cost <= answer.high);
    return svg("path", { class: kind, d: inside.map((cost) => `M${across(cost, answer).toFixed(1)} ${HEIGHT + 1.5}v${FOOT - 1.5}`).join("") });
  };
  const at = across(threshold, answer).toFixed(1);
  element.replaceChildren(
    svg("path", { class: "out", d: bars(answer, (cost) => cost > threshold) }),
    svg("path", { class: "in", d: bars(answer, (cost) => cost <= threshold) }),
    ticks(answer.wrong_costs, "wrong"),
    ticks(answer.right_costs, "right"),
    svg("path", { class: "line", d: `M${at} 0V${HEIGHT + FOOT}` }),
  );
}
