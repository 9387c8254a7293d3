"""Settings of Sphinx."""

from __future__ import annotations

from importlib.metadata import version as get_version

project = "galmorph"
author = "The galmorph developers"
project_copyright = author
release = get_version("galmorph")
version = release

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Doctests of the docstrings run with pytest (tests/test_docs.py); here those of the pages run.
doctest_test_doctest_blocks = "default"
doctest_global_setup = "import numpy as np"

html_theme = "furo"
html_title = f"galmorph {release}"
html_static_path = ["_static"]
exclude_patterns = ["_build"]
nitpicky = False
