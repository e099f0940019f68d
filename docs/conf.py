"""Settings of the documentation; build it with `python -m sphinx -W -b html docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from interface import write_pages
from llms import write_llms
from pictures import make_pictures

import geohash_rs

project = "geohash_rs"
author = "The geohash_rs authors"
copyright = "2026, The geohash_rs authors"  # noqa: A001
release = geohash_rs.__version__
version = release

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated/pictures"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes of dataclasses are described once
doctest_test_doctest_blocks = ""  # docstrings are doctested by pytest already

plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False

html_theme = "furo"
html_title = f"geohash_rs {release}"
html_static_path = ["static"]
html_css_files = ["tables.css"]


def setup(app) -> None:
    """Draw the pictures and list the public names first, and list the pages for programs last."""
    app.connect("builder-inited", make_pictures)
    app.connect("builder-inited", write_pages)
    app.connect("build-finished", write_llms)
