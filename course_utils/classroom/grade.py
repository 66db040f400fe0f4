"""`python -m course_utils grade FOLDER`: the scores of notebooks that were handed in, by the checks of their lessons.

A handed-in notebook is code of somebody else. Each runs in a process of its own, in an empty folder, without the variables of
your shell, and is killed when its time is over; but it can read and write what you can. Run this where nothing is to be lost:
in a container or as a user who has nothing. And a score is no proof: the checks run beside the code that they check, which can
fool them if it sets out to; the answers are there to be read, too.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from course_utils.classroom import rules
from course_utils.classroom.run import NOTEBOOKS, attempt
from course_utils.classroom.tidy import Cell, Notebook, code_cells, read, tags, text
from course_utils.common import CourseError, atomic_path, typed_path

MINUTES = 10.0
KEPT = (  # variables of the shell that a notebook gets to see
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SYSTEMROOT",
    "COURSE_DATA",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
)
LONGEST = 500  # characters of what a check says

EXAMPLES = """examples:
  python -m course_utils grade handed_in                       a line for each notebook below this folder
  python -m course_utils grade handed_in --out scores.csv      a table for a spreadsheet, too
  python -m course_utils grade handed_in/anna --json --minutes 5

A handed-in notebook is code of somebody else, and it runs with your rights: do this in a container, or as a user who has
nothing to lose. Each notebook has its own process and --minutes of time. A score is no proof: look at the answers, too.
"""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one check, such as "Exercise 1", says of an answer."""

    check: str
    right: bool
    said: str


@dataclasses.dataclass(frozen=True)
class Score:
    """What became of one notebook: `right` of `of` checks; `problem` says why it could not run to its end, or is ""."""

    file: str
    lesson: str
    right: int
    of: int
    seconds: float
    problem: str
    checks: list[Verdict]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `grade`."""
    parser.add_argument("folder", type=typed_path, help="notebooks that were handed in: a folder, or one file")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="time that each notebook has (default: %(default)g)"
    )
    parser.add_argument("--out", type=typed_path, help="also write the scores there, as a table (.csv)")
    parser.add_argument("--json", action="store_true", help="print all that the checks say as one line of JSON, last")
    parser.epilog = EXAMPLES


def main(args: argparse.Namespace) -> None:
    """Grades the notebooks one after the other and prints a line for each."""
    if not args.minutes > 0:
        raise CourseError(f"--minutes is {args.minutes:g}; give each notebook some time, such as 10.")
    files = handed_in(args.folder)
    lessons = [(path.stem, read(path)) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    top = args.folder if args.folder.is_dir() else args.folder.parent
    scores: list[Score] = []
    for file in files:
        score = grade(file, file.relative_to(top).as_posix(), lessons, 60 * args.minutes)
        scores.append(score)
        if args.out:  # after each: hours of work are not lost at the last
            with atomic_path(args.out) as part:
                part.write_text(table(scores), encoding="utf-8-sig")  # by its mark spreadsheets know UTF-8
        if not args.json:
            print(readable(score), flush=True)
    if args.json:
        print(json.dumps({"notebooks": [dataclasses.asdict(score) for score in scores]}, ensure_ascii=False))


def handed_in(place: Path) -> list[Path]:
    """The notebooks below a folder, or the one at this path. Raises CourseError if there are none."""
    found = [place] if place.is_file() else sorted(place.rglob("*.ipynb"))
    found = [path for path in found if path.is_file() and ".ipynb_checkpoints" not in path.parts]
    if not found:
        raise CourseError(f"There is no notebook at {place}; name the folder that holds those that were handed in.")
    return found


def grade(file: Path, name: str, lessons: Sequence[tuple[str, Notebook]], seconds: float) -> Score:
    """Runs one notebook, for so many seconds at most, with the checks of its lesson in the place of its own."""
    try:
        handed = read(file)
        rules.validate(file, handed)
        title, lesson = lesson_of(file, handed, lessons)
    except CourseError as error:
        return Score(name, "", 0, 0, 0.0, str(error), [])
    prepared, checks = graft(handed, lesson)
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as place:
        environment = {key: os.environ[key] for key in KEPT if key in os.environ}
        environment |= {key: home for key in ("HOME", "USERPROFILE", "COURSE_HOME")}
        run = attempt(prepared, Path(place), "ci", environment=environment, limit=seconds)
    after = {cell["id"]: cell for cell in code_cells(run.notebook)}
    verdicts = [verdict(label, after.get(key)) for key, label in checks.items()]
    right = sum(one.right for one in verdicts)
    return Score(name, title, right, len(verdicts), round(run.seconds, 1), run.failure, verdicts)


def lesson_of(file: Path, handed: Notebook, lessons: Sequence[tuple[str, Notebook]]) -> tuple[str, Notebook]:
    """The lesson that a notebook belongs to: the one with which it shares most cells, else the one whose number its name begins with.

    Raises CourseError if it is none of them.
    """
    ids = {cell.get("id") for cell in handed["cells"]}
    shared = {title: len(ids & {cell["id"] for cell in lesson["cells"]}) for title, lesson in lessons}
    for title, lesson in lessons:
        if shared[title] and shared[title] == max(shared.values()):
            return title, lesson
    for title, lesson in lessons:
        if file.name.startswith(title[:2]):
            return title, lesson
    raise CourseError(f"{file.name} belongs to no lesson: it has none of their cells, and its name no number of one.")


def graft(handed: Notebook, lesson: Notebook) -> tuple[Notebook, dict[str, str]]:
    """The notebook with the lesson's own checks, each where the student's is, or at the end if that is gone; and their cells.

    The checks are given as {id of the cell: label, such as "Exercise 1"}, in the order of the lesson. Their ids are new, so
    that nothing in the notebook can pass for one. Every cell may fail without keeping the next from running. Solutions, which
    stand in a lesson that was not handed out as the student edition, are left out.
    """
    ours = [cell for cell in code_cells(lesson) if "check" in tags(cell)]
    new = {cell["id"]: f"check-{secrets.token_hex(8)}" for cell in ours}
    solved = {cell["id"] for cell in lesson["cells"] if "solution" in tags(cell)}
    waiting, cells = list(ours), []
    for cell in handed["cells"]:
        twin = next((one for one in waiting if cell.get("id") == one["id"] or same(cell, one)), None)
        if twin:
            waiting.remove(twin)
            cells.append({**twin, "id": new[twin["id"]]})
        elif cell.get("id") not in solved:
            cells.append(cell)
    cells += [{**cell, "id": new[cell["id"]]} for cell in waiting]
    may = [cell if cell["cell_type"] != "code" else lenient(cell) for cell in cells]
    return {**handed, "cells": may}, {new[cell["id"]]: label(cell) for cell in ours}


def same(one: Cell, other: Cell) -> bool:
    """Whether two cells have the same source."""
    return text(one["source"]).strip() == text(other["source"]).strip()


def lenient(cell: Cell) -> Cell:
    """The code cell with the tag that lets it fail, and no other."""
    return {**cell, "metadata": {"tags": ["raises-exception"]}}


def label(check: Cell) -> str:
    """What a check calls itself in the line that it prints, such as "Exercise 1", or "Clinic" where there is but one."""
    found = re.search(r"(?:Exercise|Clinic)(?: \d+)?(?=:)", text(check["source"]))
    return found[0] if found else text(check["source"]).strip()[-40:]


def verdict(name: str, cell: Cell | None) -> Verdict:
    """What a check said: the last line that it printed under its name, for what the answer prints comes before."""
    outputs = cell["outputs"] if cell else []
    printed = "".join(text(output["text"]) for output in outputs if output.get("name") == "stdout")
    errors = [output for output in outputs if output["output_type"] == "error"]
    found = re.findall(rf"^{re.escape(name)}: (.*)$", printed, flags=re.M)
    if errors:
        said = f"it stopped with {errors[0]['ename']}: {errors[0]['evalue']}"
    else:
        said = found[-1] if found else "it was not reached"
    return Verdict(name, not errors and said.startswith("right."), said[:LONGEST])


def readable(score: Score) -> str:
    """One line on a notebook."""
    wrong = ", ".join(one.check for one in score.checks if not one.right)
    parts = [f"{score.file}: {score.right} of {score.of} right"]
    parts += [f"not {wrong}"] * bool(wrong) + [score.problem] * bool(score.problem)
    return "; ".join(parts)


def table(scores: Sequence[Score]) -> str:
    """The scores as CSV: file, lesson, right, of, seconds, problem, then 1 or 0 for each check."""
    names = list(dict.fromkeys(one.check for score in scores for one in score.checks))
    memory = io.StringIO()
    writer = csv.writer(memory, lineterminator="\n")
    writer.writerow(["file", "lesson", "right", "of", "seconds", "problem", *names])
    for score in scores:
        given = {one.check: int(one.right) for one in score.checks}
        row = [plain(score.file), score.lesson, score.right, score.of, score.seconds, plain(score.problem)]
        writer.writerow([*row, *(given.get(name, "") for name in names)])
    return memory.getvalue()


def plain(words: str) -> str:
    """A text that no spreadsheet takes for a formula: file names are chosen by others."""
    return f"'{words}" if words[:1] in tuple("=+-@\t\r") else words
