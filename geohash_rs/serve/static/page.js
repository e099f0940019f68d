// Helpers of the page: elements by id, plurals, the alert, and keyboard focus.

export const $ = (id) => document.getElementById(id);
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function say(message) {
  $("problem").textContent = message ?? "";
  $("problem").hidden = !message;
  if (message) $("problem").scrollIntoView({ block: "nearest" });
}

// Change the page; if that removes the focused element, move the focus to `refuge`, not to the top.
export function keepFocus(apply, refuge = "results-title") {
  const before = document.activeElement;
  apply();
  if (!before || before === document.body || before.getClientRects().length) return;
  $(refuge).focus({ preventScroll: true });
  $(refuge).scrollIntoView({ block: "nearest" });
}

export function save(blob, name) {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}
