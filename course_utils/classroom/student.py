"""`python -m course_utils student`: the student edition, which is the lessons without their solutions and without outputs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from course_utils.classroom.run import NOTEBOOKS, find
from course_utils.classroom.tidy import Notebook, dump, read, tags, without_outputs
from course_utils.common import ROOT, CourseError, atomic_path, typed_path

OUT = ROOT / "_build" / "student"

EXAMPLES = """examples:
  python -m course_utils student                   all lessons, into _build/student
  python -m course_utils student 04 --out sheets   one lesson, into the folder sheets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `student`."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lesson numbers, or notebook files (default: all)")
    parser.add_argument("--out", type=typed_path, default=OUT, help="the folder to write to (default: _build/student)")
    parser.epilog = EXAMPLES


def main(args: argparse.Namespace) -> None:
    """Writes the student edition of the lessons that were asked for."""
    paths = [find(name) for name in args.lessons] if args.lessons else sorted(NOTEBOOKS.glob("*.ipynb"))
    written = write(paths, args.out)
    print(f"wrote {len(written)} lesson{'s' * (len(written) != 1)} to {os.path.relpath(args.out)}")


def student(notebook: Notebook) -> Notebook:
    """The lesson without its `solution` cells, of code or text, and without outputs; the argument stays as it is."""
    kept = [cell for cell in notebook["cells"] if "solution" not in tags(cell)]
    metadata = {
        key: value for key, value in notebook["metadata"].items() if key != "course"
    }  # it speaks of the outputs
    return without_outputs({**notebook, "cells": kept, "metadata": metadata})


def write(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Writes the student edition of these lessons into `folder`; returns its files.

    Raises CourseError if the folder is the lessons' own, or cannot be written to.
    """
    if folder.resolve() == NOTEBOOKS.resolve():
        raise CourseError("The student edition would overwrite the lessons; choose another folder.")
    for path in paths:
        with atomic_path(folder / path.name) as part:
            part.write_text(dump(student(read(path))), encoding="utf-8")
    return [folder / path.name for path in paths]
