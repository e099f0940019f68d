"""Write `llms.txt`: a list of the pages for language models, see https://llmstxt.org."""

from pathlib import Path

ABOUT = "A TorchGeo plugin that finds the tiles of GeoTIFF scenes that look like a GeoTIFF patch."
PARTS = {
    "start": "Getting started",
    "guides": "How-to guides",
    "how-it-works": "How it works",
    "decisions": "Decisions",
    "reference": "Reference",
}


def write_llms(app, exception) -> None:
    """List the sources of the pages, part by part, once the html is built."""
    if exception or app.builder.name != "html":
        return
    lines = ["# geohash_rs", "", f"> {ABOUT}"]
    for folder, title in PARTS.items():
        pages = sorted(page for page in app.env.titles if page.startswith(f"{folder}/"))
        links = [f"- [{app.env.titles[page].astext()}](_sources/{page}.md.txt)" for page in pages]
        lines += ["", f"## {title}", "", *links]
    Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
