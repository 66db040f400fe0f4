"""One form for every stored notebook, so that a diff shows only what a person or the code changed.

A fixed kernel, counts 1..n, no widget state, no stderr, no text beside a picture, no clock times, no paths of a machine,
solutions folded, one order of keys. Cells keep their ids. Tidying twice is tidying once.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import sysconfig
from pathlib import Path
from typing import Any

from course_utils.common import ROOT, CourseError

Notebook = dict[str, Any]
Cell = dict[str, Any]

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
KEPT_NOTEBOOK = {"title", "mystnb", "course", "live_seconds"}
KEPT_CELL = {"tags", "mystnb", "reason", "jupyter", "nbgrader", "slideshow"}
FOLDED = {"outputs_hidden": True, "source_hidden": True}  # solutions in JupyterLab; the book folds them by their tag
WIDGET = "application/vnd.jupyter.widget-view+json"


def read(path: str | Path) -> Notebook:
    """The notebook as plain JSON. Raises CourseError that names the file if it is missing, broken or not a notebook."""
    path = Path(path)
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"{path.name} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise CourseError(
            f"{path.name} is not a notebook, its JSON is broken: {error}. Mend it, or restore it from git."
        ) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(
        isinstance(cell, dict) and {"cell_type", "source"} <= set(cell) for cell in cells
    ):
        raise CourseError(f"{path.name} is not a notebook in format 4: it has no list of cells. Restore it from git.")
    notebook.setdefault("metadata", {})
    return notebook


def dump(notebook: Notebook) -> str:
    """The one text of a notebook: sorted keys, one space of indent, real characters."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def text(value: str | list[str]) -> str:
    """A notebook's text, which is stored as one string or as a list of lines."""
    return value if isinstance(value, str) else "".join(value)


def code_cells(notebook: Notebook) -> list[Cell]:
    """The code cells, in order; the first is In [1]."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_digest(notebook: Notebook) -> str:
    """SHA-256 of the code cells' sources joined by newlines: what the stored outputs were made by."""
    code = "\n".join(text(cell["source"]) for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def tags(cell: Cell) -> list[str]:
    """A cell's tags."""
    return cell.get("metadata", {}).get("tags", [])


def tidy(notebook: Notebook) -> Notebook:
    """The notebook in its one form; the argument stays as it is."""
    notebook = copy.deepcopy(notebook)
    kept = {key: value for key, value in notebook.get("metadata", {}).items() if key in KEPT_NOTEBOOK}
    notebook["metadata"] = {**kept, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    count = 0
    for position, cell in enumerate(notebook["cells"]):
        cell.setdefault("id", f"cell-{position:03d}")
        cell["metadata"] = {key: value for key, value in cell.get("metadata", {}).items() if key in KEPT_CELL and value}
        if cell["cell_type"] == "code" and "solution" in tags(cell):
            cell["metadata"]["jupyter"] = FOLDED
        cell["source"] = text(cell["source"]).splitlines(keepends=True)
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count  # not null: nbval refuses outputs without a count
            cell["outputs"] = _outputs(cell.get("outputs", []), count)
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    return notebook


def without_outputs(notebook: Notebook) -> Notebook:
    """The tidy notebook with nothing but its sources and tags."""
    notebook = tidy(notebook)
    for cell in code_cells(notebook):
        cell["outputs"] = []
    return notebook


def _outputs(outputs: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream" and output["name"] == "stdout":
            printed = text(output["text"])
            if result and result[-1]["output_type"] == "stream":
                printed = text(result.pop()["text"]) + printed
            printed = re.sub(r"^[^\n]*\r(?!\n)", "", printed, flags=re.MULTILINE)  # a progress line: its last state
            result.append({"output_type": kind, "name": "stdout", "text": _lines(printed)})
        elif kind == "error":
            last = clean(f"{output['ename']}: {output['evalue']}")
            result.append({**output, "evalue": clean(output["evalue"]), "traceback": [last]})
        elif kind in ("display_data", "execute_result"):
            data = {mime: value for mime, value in output["data"].items() if mime != WIDGET}
            if len(data) > 1 or WIDGET in output["data"]:
                data.pop("text/plain", None)
            if data:
                tidied = {"output_type": kind, "metadata": {}, "data": {mime: _data(mime, data[mime]) for mime in data}}
                result.append(tidied | ({"execution_count": count} if kind == "execute_result" else {}))
    return result


def _data(mime: str, value: Any) -> Any:
    if mime.startswith("text/") or mime == "image/svg+xml":
        return _lines(text(value))
    return text(value).strip() if mime.startswith("image/") else value


def _lines(value: str) -> list[str]:
    return clean(value).splitlines(keepends=True)


def clean(value: str) -> str:
    """A text without what differs from machine to machine: memory addresses, where the course, Python and home lie."""
    value = re.sub(r"\b(at|object) 0x[0-9a-fA-F]+", r"\1 0x…", value)
    for place, short in _places():
        value = re.sub(rf"(?<![\w.+/=]){re.escape(place)}(?=[/\\\s\"'<>),:;]|$)[/\\]?", short, value)
    return value


def _places() -> list[tuple[str, str]]:
    """This machine's folders and what is written in their place, the longest first."""
    places = {str(ROOT): "", sysconfig.get_path("purelib"): "site-packages/", str(Path.home()): "~/"}
    return sorted(((place, short) for place, short in places.items() if len(place) > 1), key=lambda pair: -len(pair[0]))
