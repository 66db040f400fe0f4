"""Grading notebooks that were handed in: the lesson's own checks decide, whatever the notebook does."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
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


def exercise(n: int) -> list[dict]:
    check = f'print("Exercise {n}:", "right. Yes." if answer() == {n} else "not done yet.")'
    return [
        code("def answer(): ...", f"exercise-{n}", "exercise"),
        code(check, f"check-{n}", "check"),
        code(f"def answer(): return {n}", f"solution-{n}", "solution"),
    ]


COUNT = 7
LESSON = tidy(
    {
        "cells": [code("import os, time", "setup"), *(cell for n in range(COUNT) for cell in exercise(n + 1))],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
)


def answered(**changed: str | None) -> Notebook:
    """The student edition with the sources of some cells changed (exercise_1=…); None takes the cell away."""
    notebook = copy.deepcopy(student(LESSON))
    for cell in notebook["cells"]:
        cell["source"] = changed.get(cell["id"].replace("-", "_"), text(cell["source"]))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["source"] is not None]
    return notebook


SLEEPER = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(997)'])\n"
MANY = {  # cell: (what anna wrote there, right?, what is said of it)
    "setup": ("import os, time\n1 / 0", None, ""),  # a cell that fails stops no other
    "exercise_1": ("def answer(): return 1", True, "right. Yes."),
    "check_2": ("print('Exercise 2: right. Yes.')", False, "not done yet."),
    "exercise_3": ("def answer(): print('Exercise 3: right. Yes.')", False, "not done yet."),
    "exercise_4": ("def answer(): raise ValueError('no')", False, "it stopped with ValueError: no"),
    "exercise_5": ("def answer(): return 5 + len(os.listdir())", True, "right. Yes."),  # an empty folder
    "exercise_6": ("def answer(): return 6 + ('SECRET' in os.environ)", True, "right. Yes."),
    "exercise_7": ("raise SystemExit", False, "stopped with ValueError: no"),  # still the answer of exercise 6
}
MANY["exercise_7"] = ("def answer(): return 7\nraise SystemExit('enough')", True, "right. Yes.")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], list[list[str]]]:
    """What the command says as JSON of some notebooks, by file, and the rows of its table."""
    folder = tmp_path_factory.mktemp("graded")
    files = {
        "lessons/07_lesson.ipynb": dump(LESSON),
        "all/anna/my work.ipynb": dump(answered(**{name: source for name, (source, _, _) in MANY.items()})),
        "all/anna/.ipynb_checkpoints/my work.ipynb": dump(LESSON),
        "all/ben/dies.ipynb": dump(answered(exercise_1="def answer(): return 1", exercise_2="os._exit(1)")),
        "all/broken.ipynb": "{",
        "all/stranger.ipynb": dump(tidy({**LESSON, "cells": [code("1", "other")]})),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    memory = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grade, "NOTEBOOKS", folder / "lessons")
        patch.setenv("SECRET", "a password")
        patch.setattr("sys.stdout", memory)
        done = main(["grade", str(folder / "all"), "--json", "--out", str(folder / "scores.csv")])
    assert done == 0
    (line,) = memory.getvalue().splitlines()
    rows = list(csv.reader((folder / "scores.csv").read_text(encoding="utf-8-sig").splitlines()))
    return {one["file"]: one for one in json.loads(line)["notebooks"]}, rows


def test_every_notebook_is_there_once(graded) -> None:
    found, rows = graded
    assert sorted(found) == ["anna/my work.ipynb", "ben/dies.ipynb", "broken.ipynb", "stranger.ipynb"]
    assert rows[0][:6] == ["file", "lesson", "right", "of", "seconds", "problem"]
    assert rows[0][6:] == [f"Exercise {n + 1}" for n in range(COUNT)]
    assert [row[0] for row in rows[1:]] == sorted(found)


@pytest.mark.parametrize("n", range(1, COUNT + 1))
def test_the_lessons_own_check_decides(graded, n: int) -> None:
    found, rows = graded
    _, right, said = next(value for name, value in MANY.items() if name.endswith(f"_{n}"))
    one = found["anna/my work.ipynb"]["checks"][n - 1]
    assert one == {"check": f"Exercise {n}", "right": right, "said": said}
    assert rows[1][5 + n] == str(int(bool(right)))


def test_a_score_counts_what_is_right(graded) -> None:
    found, rows = graded
    score = found["anna/my work.ipynb"]
    assert (score["lesson"], score["right"], score["of"], score["problem"]) == ("07_lesson", 4, COUNT, "")
    assert rows[1][1:4] == ["07_lesson", "4", str(COUNT)] and score["seconds"] > 0


def test_what_could_not_run_to_its_end_says_why(graded) -> None:
    found, _ = graded
    assert "is not a notebook" in found["broken.ipynb"]["problem"] and found["broken.ipynb"]["of"] == 0
    assert "belongs to no lesson" in found["stranger.ipynb"]["problem"]
    died = found["ben/dies.ipynb"]
    assert "died" in died["problem"] and died["right"] == 1 and died["checks"][2]["said"] == "it was not reached"


def test_a_notebook_has_its_time_and_no_more_and_what_it_started_ends_with_it(graded, tmp_path: Path) -> None:
    seconds = 2 * graded[0]["anna/my work.ipynb"]["seconds"]  # enough for this machine to reach the first check
    never = answered(exercise_1="def answer(): return 1", exercise_2=SLEEPER + "while True: time.sleep(1)")
    (tmp_path / "never.ipynb").write_text(dump(never), encoding="utf-8")
    score = grade.grade(tmp_path / "never.ipynb", "never.ipynb", [("07_lesson", LESSON)], seconds)
    assert score.problem == f"the run was stopped after {seconds:.0f} s" and score.seconds < seconds + 15
    assert [one.right for one in score.checks] == [True] + [False] * (COUNT - 1)
    running = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    assert not [words for words in running if "time.sleep(997)" in words]


def checks_of(notebook: Notebook) -> list[tuple[str, str]]:
    """The checks in a notebook that is ready to run, each with the source of the cell before it."""
    grafted, checks = grade.graft(notebook, LESSON)
    cells = code_cells(grafted)
    return [(checks[cell["id"]], text(cells[n - 1]["source"])) for n, cell in enumerate(cells) if cell["id"] in checks]


def test_checks_are_put_where_the_answer_is() -> None:
    wanted = [(f"Exercise {n + 1}", "def answer(): ...") for n in range(COUNT)]
    assert checks_of(answered()) == wanted
    other = answered()
    for n, cell in enumerate(other["cells"]):  # as after a passage through a program that knows no ids
        cell["id"] = f"new-{n}"
    assert checks_of(other) == wanted
    assert sorted(label for label, _ in checks_of(answered(check_1=None, check_5=None))) == [name for name, _ in wanted]
    whole = {**LESSON, "cells": [cell for cell in LESSON["cells"] if "check" not in tags(cell)]}
    assert next(source for _, source in checks_of(whole)) == "def answer(): ...", (
        "no solution of ours runs before a check"
    )


def test_a_lesson_is_known_by_its_cells_or_by_the_number_of_its_name() -> None:
    lessons = [("04_other", tidy({**LESSON, "cells": [code("1", "other")]})), ("07_lesson", LESSON)]
    assert grade.lesson_of(Path("04_wrong.ipynb"), answered(), lessons)[0] == "07_lesson"
    strange = tidy({**LESSON, "cells": [code("1", "strange")]})
    assert grade.lesson_of(Path("04 anna.ipynb"), strange, lessons)[0] == "04_other"
    with pytest.raises(CourseError, match="belongs to no lesson"):
        grade.lesson_of(Path("anna.ipynb"), strange, lessons)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_checks_of_a_lesson_have_names_of_their_own_and_stay_in_place(path: Path) -> None:
    lesson = read(path)
    notebook, checks = grade.graft(student(lesson), lesson)
    assert len(set(checks.values())) == len(checks) == sum("check" in tags(cell) for cell in code_cells(lesson)) > 0
    assert all(re.fullmatch(r"(Exercise|Clinic) \d+|Clinic", label) for label in checks.values())
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
