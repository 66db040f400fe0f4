"""Checks of exercises: "right" to the solution, "not done yet" to the stub, and the slip by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from course_utils.classroom import checks, run
from course_utils.classroom.tidy import code_cells, read, tags, text
from course_utils.worlds.captions import parse
from course_utils.worlds.scenes import Scene, Thing

STRIPED_STAR = Scene((Thing(None, "striped", "green", "star"),), place="top right", background="black")


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("a striped green star in the top right corner on a black background", "right."),
        ("黑色背景的右上角有一个绿色的条纹五角星", "right."),
        ("", "not done yet."),
        (..., "not done yet."),
        (7, "A prompt is text in quotes"),
        ("a striped green pentagram in the top right corner", "pentagram"),
        ("a striped green star in the top right corner", "nearly. The background is left open; it should be black."),
        ("a large striped green star at the top right on a black background", "nearly. It says the size (large)"),
        ("a striped red star at the top right on a black background", "nearly. The colour is red; it should be green."),
        ("two striped green stars on a black background", "It speaks of 2 things, and one thing"),
        ("a green star", "The place is left open; it should be top right. The background is left open"),
    ],
)
def test_says(prompt: object, answer: str) -> None:
    assert answer in checks.says(prompt, STRIPED_STAR, parse)


HOLDS = {"sure": 1.0, "never": 0.0, "now and then": 0.25}


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        (("yes", "no", "open"), "right."),
        ((None, None, None), "not done yet. 3 of 3"),
        (("yes", None, None), "not done yet. 2 of 3"),
        (("Yes!", "no", "open"), "'Yes!'; write"),
        (("open", "no", "open"), "2 of 3 are right. “sure” is not 'open': the words decide it"),
        (("yes", "yes", "open"), "“never” is not 'yes': the words rule it out"),
        (("yes", "no", "no"), "“now and then” is not 'no': the words leave it open: it is so in 25%"),
    ],
)
def test_decided(answers: tuple, answer: str) -> None:
    assert answer in checks.decided(dict(zip(HOLDS, answers, strict=True)), HOLDS)


def test_decided_wants_the_statements_as_they_were() -> None:
    assert "as they were" in checks.decided(["yes"], HOLDS)
    assert "as they were" in checks.decided({"sure": "yes"}, HOLDS)


SHOWN = [number not in (3, 11) for number in range(1, 17)]
READINGS = [f"scene {number}" for number in range(1, 17)]


@pytest.mark.parametrize(
    ("marked", "answer"),
    [
        ([11, 3], "right. You and the judge agree on 16 of 16."),
        ([3], "right. You and the judge agree on 15 of 16. It reads number 11 as scene 11."),
        (None, "not done yet."),
        (2, "2 is a count"),
        (["three"], "whole numbers from 1 to 16"),
        ([0, 3], "numbered from 1"),
        ([17], "no number 17"),
        ([n for n in range(1, 17) if n not in (3, 11)], "listed the pictures that are right"),
        ([1, 2, 3, 4, 5], "agree on 11 of 16: look again at 1, 2, 4, 5, 11. It reads number 1 as scene 1."),
    ],
)
def test_marked_wrong(marked: object, answer: str) -> None:
    assert answer in checks.marked_wrong(marked, SHOWN, READINGS)


@pytest.mark.parametrize("path", sorted(run.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_stored_checks_say_not_done_to_the_stub_and_right_to_the_solution(path: Path) -> None:
    for tag, expected in (("check", ": not done yet"), ("solution", ": right.")):
        for cell in code_cells(read(path)):
            if tag in tags(cell):
                printed = "".join(text(output.get("text", "")) for output in cell["outputs"])
                assert expected in printed, f"a cell tagged {tag} printed {printed!r}"
