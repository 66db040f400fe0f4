"""The book, for Sphinx; `build.py` puts its sources together and calls it.

COURSE_REPOSITORY: address of the repository; with it, pages have buttons to the repository, to edit and to report.
COURSE_BINDER: address of a BinderHub; with both, lessons have a button that runs them there.
"""

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

project = html_title = "Words to Pixels"
author = "The Words to Pixels authors"
project_copyright = f"{author}. Text and figures: CC BY 4.0. Code and weights: MIT"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "course_book",
]
exclude_patterns = ["_ext", "**/.ipynb_checkpoints", "results/README.md"]
course_generated = tomllib.loads((HERE / "generated.toml").read_text(encoding="utf-8"))["pages"]

# Lessons: what is stored in them, and nothing is run.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables that a cell displays
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

# Maths: one file of our own, no fonts to fetch, no menu that would fetch more; errors are shown as errors, so that tests see them.
mathjax_path = "vendor/mathjax/tex-svg-full.js"
mathjax3_config = {
    "svg": {"fontCache": "local", "scale": 0.94},  # as large as the text around it
    "tex": {"packages": {"[-]": ["noerrors", "noundefined"]}, "tagIndent": "0.2em"},
    "options": {"enableMenu": False},
}

# Papers
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "alpha"

# Pages from docstrings. Types are shown as they are written; they need not lead anywhere.
default_role = "literal"
add_module_names = False
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
nitpick_ignore_regex = [(r"py:.*", r".*")]

# How it looks; everything comes from the book itself.
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_use_index = html_domain_indices = False  # the search finds functions, too
html_theme_options = {
    "show_navbar_depth": 2,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "article_header_end": ["article-header-buttons"],
}
if repository := os.environ.get("COURSE_REPOSITORY"):
    html_theme_options |= {
        "repository_url": repository,
        "use_repository_button": True,
        "use_edit_page_button": True,
        "use_issues_button": True,
    }
    if binder := os.environ.get("COURSE_BINDER"):
        html_theme_options["launch_buttons"] = {"binderhub_url": binder, "notebook_interface": "jupyterlab"}
