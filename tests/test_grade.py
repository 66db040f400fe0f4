"""Grading notebooks that were handed in: the lesson's own checks decide, whatever the notebook does."""

from __future__ import annotations

import copy
import csv
import io
import json
import time
from pathlib import Path

import psutil
import pytest

from course_utils.__main__ import main
from course_utils.classroom import grade, run
from course_utils.classroom.student import student
from course_utils.classroom.tidy import Notebook, code_cells, dump, read, tags, text, tidy
from course_utils.common import CourseError

LESSONS = sorted(run.NOTEBOOKS.glob("*.ipynb"))


def code(source: str, name: str, *tagged: str) -> dict:
    return {"cell_type": "code", "id": name, "source": source, "outputs": [], "metadata": {"tags": list(tagged)}}


def checked(n: int) -> str:
    return f'print("Exercise {n}:", "right. Yes." if answer() == {n} else "not done yet.")'


LESSON = tidy(
    {
        "cells": [
            {"cell_type": "markdown", "id": "l-title", "source": "# A lesson", "metadata": {}},
            code("import os, time", "l-setup"),
            code("def answer(): ...", "l-ex1", "exercise"),
            code(checked(1), "l-check1", "check"),
            code("def answer(): return 1", "l-sol1", "solution"),
            code("def answer(): ...", "l-ex2", "exercise"),
            code(checked(2), "l-check2", "check"),
            code("def answer(): return 2", "l-sol2", "solution"),
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)


def answered(**changed: str | None) -> Notebook:
    """The student edition with the sources of some cells changed (l_ex1=…); None takes the cell away."""
    notebook = copy.deepcopy(student(LESSON))
    for cell in notebook["cells"]:
        cell["source"] = changed.get(cell["id"].replace("-", "_"), text(cell["source"]))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["source"] is not None]
    return notebook


ONE, TWO = "def answer(): return 1", "def answer(): return 2"
SLEEPER = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(997)'])\n"


def renamed(notebook: Notebook) -> Notebook:
    for n, cell in enumerate(notebook["cells"]):
        cell["id"] = f"new-{n}"
    return notebook


HANDED_IN = {  # file: (notebook, right, what else is said)
    "anna/07_lesson.ipynb": (answered(l_ex1=ONE, l_ex2=TWO), [1, 1], ""),
    "ben/07_lesson.ipynb": (answered(), [0, 0], "not done yet."),
    "cara/with an error.ipynb": (answered(l_setup="1 / 0", l_ex1=ONE), [1, 0], "not done yet."),
    "dan/check changed.ipynb": (answered(l_check1="print('Exercise 1: right. Yes.')"), [0, 0], "not done yet."),
    "eva/prints it.ipynb": (answered(l_ex1="def answer(): print('Exercise 1: right. Yes.')"), [0, 0], "not done yet."),
    "finn/checks lost.ipynb": (answered(l_check1=None, l_check2=None, l_ex1=ONE, l_ex2=TWO), [0, 1], "not done yet."),
    "07_gina_new_ids.ipynb": (renamed(answered(l_ex1=ONE, l_ex2=TWO)), [1, 1], ""),
    "hugo/full edition.ipynb": (
        {**LESSON, "cells": [c for c in LESSON["cells"] if "check" not in tags(c)]},
        [0, 0],
        "",
    ),
    "ida/never ends.ipynb": (
        answered(l_ex1=ONE, l_ex2=SLEEPER + "while True: time.sleep(1)"),
        [1, 0],
        "it was not reached",
    ),
    "jan/dies.ipynb": (answered(l_ex1=ONE, l_ex2="os._exit(1)"), [1, 0], "it was not reached"),
    "kim/raises.ipynb": (answered(l_ex1="def answer(): raise ValueError('no')"), [0, 0], "stopped with ValueError: no"),
    "lea/looks around.ipynb": (
        answered(l_ex1="def answer(): return 1 + len(os.listdir()) + ('SECRET' in os.environ)", l_ex2=TWO),
        [1, 1],
        "",
    ),
}
LIMIT = 40


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], list[list[str]]]:
    """What the command says of HANDED_IN as JSON, by file, and the rows of its table."""
    folder = tmp_path_factory.mktemp("handed_in")
    (folder / "lessons").mkdir()
    (folder / "lessons" / "07_lesson.ipynb").write_text(dump(LESSON), encoding="utf-8")
    for name, (notebook, _, _) in HANDED_IN.items():
        (folder / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "all" / name).write_text(dump(notebook), encoding="utf-8")
    (folder / "all" / "broken.ipynb").write_text("{")
    (folder / "all" / "stranger.ipynb").write_text(dump(tidy({**LESSON, "cells": [code("1", "other")]})))
    (folder / "all" / "anna" / ".ipynb_checkpoints").mkdir()
    (folder / "all" / "anna" / ".ipynb_checkpoints" / "07_lesson.ipynb").write_text(dump(LESSON))
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as printed:
        patch.setattr(grade, "NOTEBOOKS", folder / "lessons")
        patch.setenv("SECRET", "a password")
        memory = io.StringIO()
        printed.setattr("sys.stdout", memory)
        words = ["grade", str(folder / "all"), "--json", "--minutes", str(LIMIT / 60), "--out", str(folder / "s.csv")]
        done = main(words)
    assert done == 0
    (line,) = memory.getvalue().splitlines()
    rows = list(csv.reader((folder / "s.csv").read_text(encoding="utf-8-sig").splitlines()))
    return {one["file"]: one for one in json.loads(line)["notebooks"]}, rows


def test_every_notebook_is_there_once(graded) -> None:
    found, rows = graded
    assert sorted(found) == sorted([*HANDED_IN, "broken.ipynb", "stranger.ipynb"])
    assert rows[0] == ["file", "lesson", "right", "of", "seconds", "problem", "Exercise 1", "Exercise 2"]
    assert sorted(row[0] for row in rows[1:]) == sorted(found)


@pytest.mark.parametrize("name", HANDED_IN)
def test_scores(graded, name: str) -> None:
    found, rows = graded
    _, right, said = HANDED_IN[name]
    score = found[name]
    assert [one["right"] for one in score["checks"]] == [bool(one) for one in right], score
    assert (score["lesson"], score["right"], score["of"]) == ("07_lesson", sum(right), 2)
    assert not said or said in score["checks"][0 if not right[0] else 1]["said"], score
    assert next(row for row in rows if row[0] == name)[-2:] == [str(one) for one in right]


def test_what_could_not_be_graded_says_why(graded) -> None:
    found, _ = graded
    assert "is not a notebook" in found["broken.ipynb"]["problem"]
    assert "belongs to no lesson" in found["stranger.ipynb"]["problem"]
    assert f"was stopped after {LIMIT} s" in found["ida/never ends.ipynb"]["problem"]
    assert "died" in found["jan/dies.ipynb"]["problem"]
    assert not found["cara/with an error.ipynb"]["problem"]


def test_what_a_notebook_started_ends_with_its_time(graded) -> None:
    mine = [one for one in psutil.process_iter(["cmdline"]) if "time.sleep(997)" in " ".join(one.info["cmdline"] or [])]
    assert not [one for one in mine if time.time() - one.create_time() < 3600]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_checks_of_a_lesson_have_names_of_their_own_and_stay_in_place(path: Path) -> None:
    lesson = read(path)
    notebook, checks = grade.graft(student(lesson), lesson)
    assert len(set(checks.values())) == len(checks) == sum("check" in tags(cell) for cell in code_cells(lesson)) > 0
    assert all(label.startswith(("Exercise ", "Clinic ")) for label in checks.values())
    before = [text(cell["source"]) for cell in code_cells(student(lesson))]
    assert [text(cell["source"]) for cell in code_cells(notebook)] == before
    assert all(tags(cell) == ["raises-exception"] for cell in code_cells(notebook))


def test_a_folder_without_notebooks_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", str(tmp_path)]) == 2
    assert "There is no notebook at" in capsys.readouterr().err
    assert main(["grade", str(tmp_path), "--minutes", "0"]) == 2
    with pytest.raises(CourseError, match="There is no notebook"):
        grade.handed_in(tmp_path / "no such folder")


def test_no_file_name_becomes_a_formula() -> None:
    score = grade.Score("=1+1.ipynb", "07_lesson", 0, 1, 1.0, "@x", [grade.Verdict("Exercise 1", False, "no")])
    assert grade.table([score]).splitlines()[1] == "'=1+1.ipynb,07_lesson,0,1,1.0,'@x,0"


def test_a_person_is_told_what_is_wrong() -> None:
    checks = [grade.Verdict("Exercise 1", True, "right."), grade.Verdict("Clinic 1", False, "not yet.")]
    assert grade.readable(grade.Score("a.ipynb", "07", 1, 2, 1.0, "", checks)) == "a.ipynb: 1 of 2 right; not Clinic 1"
