"""The stored lessons: readable, tidy, made by their code, within their budgets. `course_utils.classroom.rules` says how."""

from pathlib import Path

import pytest

from course_utils.classroom import rules, run

LESSONS = sorted(run.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_keeps_the_rules(path: Path) -> None:
    found = rules.complaints(path)
    assert not found, "\n".join(found)


def test_lessons_together_keep_the_budgets() -> None:
    readable = [
        path for path in LESSONS if not any("notebook" in complaint for complaint in rules.complaints(path)[:1])
    ]
    found = rules.total_complaints(readable)
    assert not found, "\n".join(found)


def test_no_two_lessons_share_a_number() -> None:
    numbers = [path.name[:2] for path in LESSONS]
    assert len(set(numbers)) == len(numbers), f"lesson numbers are used twice: {numbers}"
