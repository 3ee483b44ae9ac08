"""Sphinx configuration of these pages: `sphinx-build -W -b html docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import make_reference

import transgan

make_reference.write()

project = "TransGAN"
author = "The TransGAN authors"
version = release = transgan.__version__
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "TransGAN"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_search_scorer = str(Path(__file__).parent / "static" / "scorer.js")
html_show_copyright = False
