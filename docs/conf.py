"""Sphinx: the pages of this folder as HTML, for rosdoc2 and `sphinx-build -W docs docs/_build`."""

# ruff: noqa: INP001  (a configuration, not a package)
from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "deeplab_miou"
author = "deeplab_miou maintainers"
release = re.findall(
    '__version__ = "(.+)"', (ROOT / "deeplab_miou" / "__init__.py").read_text(encoding="utf-8")
)[0]
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "alabaster"

# As GitHub does.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Links lead to files of the repository outside this folder, which are no pages of their own.
suppress_warnings = ["myst.xref_missing", "myst.header"]
