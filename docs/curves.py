"""Draw what `python -m tests.benchmarks.choosing` measured, for the page about choosing."""

import json
from pathlib import Path

from matplotlib.figure import Figure

MEASURED = Path(__file__).parent / "measured" / "choosing.json"
COLOURS = {64: "#0f6376", 128: "#d81e56", 256: "#8a5a00"}
K = "precision@5"


def draw_curves(path: Path) -> None:
    """Draw the share of right matches against the number of bits, a line for each tile size.

    Args:
        path: Picture to write.
    """
    rows = json.loads(MEASURED.read_text(encoding="utf-8"))["rows"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = {"ucmerced": "UC Merced, 0.3 m a pixel", "eurosat": "EuroSAT, 10 m a pixel"}
    for panel, (data, title) in zip(axes, titles.items(), strict=True):
        mine = [row for row in rows if row["data"] == data]
        bits = sorted({row["bits"] for row in mine})
        for size in sorted({row["tile_size"] for row in mine}):
            line = {row["bits"]: row[K] for row in mine if row["tile_size"] == size}
            shares = [line[number] for number in bits]
            panel.plot(bits, shares, "o-", color=COLOURS[size], label=f"tiles of {size} px")
        panel.set_xscale("log", base=2)
        panel.set_xticks(bits, [str(number) for number in bits])
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("bits of a code")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, loc="lower right")
    axes[0].set_ylabel("of the 5 nearest, share of the same class")
    axes[0].set_ylim(0, 1)
    figure.savefig(path, dpi=110)
