"""The student edition: no solutions, no outputs, and it runs from end to end with every check saying "not done yet"."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from course_utils.classroom import run, student
from course_utils.classroom.tidy import code_cells, read, tags, text
from course_utils.common import CourseError

LESSONS = sorted(run.NOTEBOOKS.glob("*.ipynb"))


def printed(cell: dict) -> str:
    return "".join(text(output.get("text", "")) for output in cell["outputs"])


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_nothing_of_a_solution_is_left(path: Path) -> None:
    lesson = read(path)
    before = copy.deepcopy(lesson)
    edition = student.student(lesson)
    assert lesson == before
    assert not [cell for cell in edition["cells"] if "solution" in tags(cell) or cell.get("outputs")]
    assert [cell["execution_count"] for cell in code_cells(edition)] == list(range(1, len(code_cells(edition)) + 1))
    assert "course" not in edition["metadata"]
    kept = {cell["id"] for cell in edition["cells"]}
    assert {cell["id"] for cell in lesson["cells"] if cell["id"] not in kept} == {
        cell["id"] for cell in lesson["cells"] if "solution" in tags(cell)
    }


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_it_runs_from_end_to_end_and_every_check_says_not_done(path: Path, tmp_path: Path) -> None:
    [written] = student.write([path], tmp_path)
    checks = [cell for cell in code_cells(run.execute(written, "ci").notebook) if "check" in tags(cell)]
    assert checks and all(": not done yet" in printed(cell) for cell in checks), [printed(cell) for cell in checks]


def test_the_lessons_themselves_are_not_overwritten() -> None:
    with pytest.raises(CourseError, match="overwrite the lessons"):
        student.write(LESSONS, run.NOTEBOOKS)


def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CourseError, match="Cannot write .*file"):
        student.write(LESSONS[:1], tmp_path / "file")


def test_a_text_that_belongs_to_a_solution_goes_too(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "id": "a", "source": "# A", "metadata": {}},
        {"cell_type": "markdown", "id": "b", "source": "because", "metadata": {"tags": ["solution"]}},
    ]
    edition = student.student({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert [cell["id"] for cell in edition["cells"]] == ["a"]
