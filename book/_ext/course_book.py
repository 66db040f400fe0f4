"""What the book needs beyond its libraries: folded solutions, boxes, formulas as written, Mermaid diagrams, names that may
break, docstrings as plain text, edit links."""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

NAME = re.compile(r'(?<=<span class="pre">)[^<]+')  # a word of code within a text, or of a signature
BREAK = re.compile(r"[/_.](?=\w)")  # after which a line may end


def fold_solutions(app: Sphinx, name: str, source: list[str]) -> None:
    """Folds each cell that a lesson tags `solution`; it opens without JavaScript."""
    if not str(app.env.doc2path(name)).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "solution" in tags:
            cell["metadata"]["tags"] = [*tags, "hide-cell"]
            prompts = {"code_prompt_show": "Show solution", "code_prompt_hide": "Hide solution"}
            cell["metadata"]["mystnb"] = {**cell["metadata"].get("mystnb", {}), **prompts}
    source[0] = json.dumps(notebook)


def box_quotes(app: Sphinx, doctree: nodes.document) -> None:
    """Makes a box of each quote that begins with bold words, `> **Predict.** …`, with these words as its title.

    JupyterLab shows such a quote as a quote. A box has the classes `admonition` and `tip`, or `note` for all but "Predict".
    """
    for quote in list(doctree.findall(nodes.block_quote)):
        start = quote.next_node(nodes.paragraph)
        parts = [part for part in start.children if part.astext()] if start else []  # an empty text may come first
        if not parts or start is not quote.children[0] or not isinstance(parts[0], nodes.strong):
            continue
        title, *rest = parts
        if rest and isinstance(rest[0], nodes.Text):
            rest[0] = nodes.Text(rest[0].lstrip())
        start.children.clear()
        start.extend(rest)
        box = nodes.admonition("", classes=["tip" if title.astext().startswith("Predict") else "note"])
        box += nodes.title("", title.astext().rstrip("."))
        box += quote.children
        quote.replace_self(box)


def leave_formulas(app: Sphinx, doctree: nodes.document) -> None:
    """Gives each displayed formula to MathJax as it was written, as JupyterLab does: Sphinx's own wrapping forbids a \\tag."""
    for formula in doctree.findall(nodes.math_block):
        if not formula.get("number") and "amsmath" not in formula.get("classes", []):
            begin, end = app.config.mathjax_display
            formula["no-wrap"] = True
            formula.children = [nodes.Text(f"{begin}{formula.astext()}{end}")]


class mermaid(nodes.General, nodes.Element):
    """A diagram in the language of Mermaid."""


class Mermaid(SphinxDirective):
    """A fence of ```mermaid, as JupyterLab and code hosts draw it too."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The diagram's node."""
        return [mermaid(code="\n".join(self.content))]


def visit_mermaid(self: Any, node: mermaid) -> None:
    """Writes the diagram's source, which the browser draws."""
    self.body.append(f'<div class="mermaid">{self.encode(node["code"])}</div>\n')
    raise nodes.SkipNode


def visit_mermaid_text(self: Any, node: mermaid) -> None:
    """The search's index and other texts leave diagrams out."""
    raise nodes.SkipNode


def finish_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Loads Mermaid on pages with a diagram only, lets long names break, says where a page's source lies in the repository."""
    if doctree is not None and doctree.next_node(mermaid) is not None:
        app.add_js_file("vendor/mermaid/mermaid.min.js", loading_method="defer")
        app.add_js_file("diagrams.js", loading_method="defer")
    if page == "search":  # its snippets come from the pages found, which a browser does not fetch from the disk
        app.add_js_file(
            None, body='if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'
        )
    if "body" in context:
        context["body"] = NAME.sub(lambda name: BREAK.sub(r"\g<0><wbr>", name[0]), context["body"])
    source = f"{page}{context.get('page_source_suffix') or ''}"
    if page in app.config.course_generated or page.partition("/")[0] in app.config.course_generated:
        context["page_source_suffix"] = ""  # nothing to edit: build.py wrote it
    elif not source.startswith("notebooks/"):
        context["doc_path"] = "book"


def plain_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Makes reStructuredText of our docstrings, which are plain text with `code`, **bold** and lists."""
    text: list[str] = []
    for line in lines:
        item = re.match(r"(\d+\.|-) ", line)
        if item and text and text[-1].strip() and not re.match(r"(\d+\.|-|  ) ?", text[-1]):
            text.append("")  # a list begins
        text.append("".join(_inline(part) for part in re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", line)))
    lines[:] = text


def short_names(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str) -> Any:
    """Leaves the modules out of types within types, which autodoc forgets."""
    return tuple(text and re.sub(r"~[\w.]*\.(\w+)", r"\1", text) for text in (signature, returns))


def _inline(part: str) -> str:
    """A run of a docstring's line: code and bold as they are, all else without a meaning to reStructuredText."""
    if part.startswith("`"):
        return f"`{part}`"
    return part if part.startswith("**") else re.sub(r"([\\*|_])", r"\\\1", part)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all of it."""
    app.add_config_value("course_generated", [], "html")
    app.add_node(mermaid, html=(visit_mermaid, None), text=(visit_mermaid_text, None))
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", fold_solutions)
    app.connect("doctree-read", box_quotes)
    app.connect("doctree-read", leave_formulas)
    app.connect("html-page-context", finish_page, priority=400)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("autodoc-process-signature", short_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
