"""`python -m course_utils student`: what to hand out, which is a folder that works on its own, and later the solutions."""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from course_utils.classroom.run import NOTEBOOKS, find
from course_utils.classroom.tidy import Cell, Notebook, dump, read, tags, text, tidy, without_outputs
from course_utils.common import ROOT, CourseError, atomic_path, cannot_write, typed_path

OUT = ROOT / "_build" / "student"
SOLUTIONS = ROOT / "_build" / "solutions"
BESIDE = ("Makefile", "pyproject.toml", "constraints.txt", "environment.yml", "LICENSE", "LICENSE-CC-BY-4.0")
FOLDERS = ("course_utils", "data", "book/results")  # lessons read measured results, too
README = """# Words to Pixels: student edition

The lessons {lessons} with all that they need. On Linux or an Apple-silicon Mac with Python 3.11, 3.12 or 3.13, in this folder:

```bash
make lab
```

With conda, or on Windows:

```bash
conda env create -f environment.yml
conda activate words-to-pixels
jupyter lab notebooks
```

`python -m course_utils doctor` says whether the machine is ready. Write each answer into the cell that the exercise gives you,
run the check below it, save, and hand in the notebooks: the files in `notebooks`.
"""
PACKED = '''"""{about}

Packed by `python -m course_utils student`, so that nobody reads the answers in it by accident. It is no secret: it can be unpacked.
"""

import base64
import zlib

exec(compile(zlib.decompress(base64.b85decode("{packed}")), "<packed checks>", "exec"))
'''

EXAMPLES = """examples:
  python -m course_utils student                   all lessons and the package, into _build/student and _build/student.zip
  python -m course_utils student 04 --out sheets   one lesson and the package, into the folder sheets and sheets.zip
  python -m course_utils student 04 --solutions    its solutions to read, into _build/solutions
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `student`."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lesson numbers, or notebook files (default: all)")
    parser.add_argument("--solutions", action="store_true", help="the solutions instead, each with its exercise")
    parser.add_argument(
        "--out", type=typed_path, help="the folder to write to (default: _build/student or _build/solutions)"
    )
    parser.epilog = EXAMPLES


def main(args: argparse.Namespace) -> None:
    """Writes the edition of the lessons that were asked for."""
    paths = [find(name) for name in args.lessons] if args.lessons else sorted(NOTEBOOKS.glob("*.ipynb"))
    folder = args.out or (SOLUTIONS if args.solutions else OUT)
    number = f"{len(paths)} lesson{'s' * (len(paths) != 1)}"
    if args.solutions:
        write_solutions(paths, folder)
        print(f"wrote the solutions of {number} to {os.path.relpath(folder)}")
    else:
        archive = pack(folder, write(paths, folder))
        size = archive.stat().st_size / 2**20
        print(f"wrote {number} and the package to {os.path.relpath(folder)}")
        print(f"to hand out: {os.path.relpath(archive)}, {size:.0f} MiB")


# ------------------------------------------------------------------------------------------------- the student edition


def student(notebook: Notebook) -> Notebook:
    """The lesson without its `solution` cells, of code or text, and without outputs; the argument stays as it is."""
    kept = [cell for cell in notebook["cells"] if "solution" not in tags(cell)]
    metadata = {
        key: value for key, value in notebook["metadata"].items() if key != "course"
    }  # it speaks of the outputs
    return without_outputs({**notebook, "cells": kept, "metadata": metadata})


def write(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Writes these lessons for students, the package, the data and the measured results into `folder`; returns the lessons' files.

    The folder works wherever it is put. The checks of the exercises are packed: see PACKED. A file that is there already is
    overwritten, others are left alone. Raises CourseError if the folder is the course's own, or cannot be written to.
    """
    if folder.resolve() in (ROOT.resolve(), NOTEBOOKS.resolve()):
        raise CourseError("The student edition would overwrite the lessons; choose another folder.")
    written = [folder / "notebooks" / path.name for path in paths]
    for path, target in zip(paths, written, strict=True):
        _put(target, dump(student(read(path))))
    _put(folder / "README.md", README.format(lessons=", ".join(path.stem[:2] for path in paths)))
    try:
        for name in BESIDE:
            shutil.copy(ROOT / name, folder)
        for name in FOLDERS:
            ignore = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(ROOT / name, folder / name, ignore=ignore, dirs_exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    for path in checks(folder):
        _put(path, packed(path.read_text(encoding="utf-8")))
    return written


def checks(root: Path) -> list[Path]:
    """The modules that check exercises, in the course_utils of this folder: they hold the answers."""
    room = root / "course_utils" / "classroom"
    return sorted([*room.glob("checks*.py"), *room.glob("checks*/**/*.py")])


def packed(source: str) -> str:
    """A module that does what the module with this source does, and shows only the first line of its docstring."""
    about = source.partition('"""')[2].partition("\n")[0].removesuffix('"""')
    return PACKED.format(about=about, packed=base64.b85encode(zlib.compress(source.encode(), 9)).decode())


def pack(folder: Path, lessons: Sequence[Path]) -> Path:
    """Writes FOLDER.zip beside the folder, with these lessons in it and what they need; returns it."""
    target = folder.resolve().with_name(f"{folder.resolve().name}.zip")
    rest = [file for name in FOLDERS for file in sorted((folder / name).rglob("*"))]
    files = [*(folder / name for name in (*BESIDE, "README.md")), *lessons, *rest]
    with atomic_path(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            if file.is_file() and file.suffix != ".pyc":
                archive.write(file, Path(target.stem, file.relative_to(folder)))
    return target


# --------------------------------------------------------------------------------------------- the edition of solutions


def solutions(notebook: Notebook) -> Notebook:
    """The exercises of a lesson, each with its text, its solution, and what that printed and drew; to be read, not to be run."""
    texts: list[Cell] = []
    title = text(notebook["cells"][0]["source"]).strip().partition("\n")[0].lstrip("# ")
    note = "Each exercise with one solution. It needs the rest of the lesson to run."
    cells: list[Cell] = [_text(f"# Solutions: {title}\n\n*{note}*", "title")]
    for cell in notebook["cells"]:
        if "solution" in tags(cell):
            shown = {key: value for key, value in cell["metadata"].items() if key not in ("tags", "jupyter")}
            cells.append({**cell, "metadata": shown})
        elif "exercise" in tags(cell):
            cells += texts
        told = cell["cell_type"] == "markdown" or ("clinic" in tags(cell) and "exercise" not in tags(cell))
        texts = [*texts, cell] if told and "solution" not in tags(cell) else []
    return tidy({**notebook, "cells": cells, "metadata": {}})


def write_solutions(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Writes the solutions of these lessons into `folder`; returns its files. Raises CourseError as `write` does."""
    if folder.resolve() in (ROOT.resolve(), NOTEBOOKS.resolve()):
        raise CourseError("The solutions would overwrite the lessons; choose another folder.")
    for path in paths:
        _put(folder / path.name, dump(solutions(read(path))))
    return [folder / path.name for path in paths]


def _text(source: str, name: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def _put(path: Path, content: str) -> None:
    with atomic_path(path) as part:
        part.write_text(content, encoding="utf-8")
