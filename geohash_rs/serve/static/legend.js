// The panel of the map's layers: what is drawn, how opaque, and what the colours mean.
import { learned, onLearned } from "./concept.js";
import { $ } from "./page.js";
import { known, state, watch } from "./session.js";

function open(on) {
  $("layers").hidden = !on;
  $("tool-layers").setAttribute("aria-expanded", String(on));
}

// Lines of the legend are shown for what is on the map; those of tiles follow the view by style.css.
function show() {
  const drawn = {
    matches: state.matches.length > 0 && !learned.answer,
    query: state.examples.length > 0,
    wrong: state.negatives.length > 0,
    areas: Boolean(learned.answer),
    region: Boolean(state.region),
  };
  for (const [name, on] of Object.entries(drawn)) $(`means-${name}`).hidden = !on;
}

function follow(name, apply) {
  const tell = () => {
    $(`${name}-opacity`).disabled = !$(`${name}-on`).checked;
    apply({ on: $(`${name}-on`).checked, opacity: Number($(`${name}-opacity`).value) / 100 });
  };
  $(`${name}-on`).addEventListener("change", tell);
  $(`${name}-opacity`).addEventListener("input", tell);
}

export function wireLegend() {
  watch(show);
  onLearned(show);
  follow("imagery", known.view.setImagery);
  follow("footprints", (chosen) => {
    document.body.toggleAttribute("data-no-footprints", !chosen.on);
    known.view.setFootprints(chosen);
  });
  $("tool-layers").addEventListener("click", () => open($("layers").hidden));
  $("layers").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open(false);
    $("tool-layers").focus();
  });
}
