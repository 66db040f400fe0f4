"""Every file of book/results was made by the command that README.md names, from the weights and files that are there now."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from course_utils.commands.cards import typed
from course_utils.common import DATA, ROOT, sha256
from course_utils.loaded import identity

RESULTS = ROOT / "book" / "results"
README = (RESULTS / "README.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `([\w.-]+)` \| (.*) \| (.*) \|$", README, flags=re.M)}
NAMES = sorted(path.name for path in RESULTS.iterdir() if path.name != "README.md")


def measured(path: Path) -> list[dict[str, Any]]:
    """What a file says it was made by and from, each of its rows where it is a list; [] if it, or a row, does not say."""
    if path.suffix == ".png":
        made = json.loads(Image.open(path).info.get("Measured", "{}"))
        return [made] if made else []
    value = json.loads(path.read_text(encoding="utf-8"))
    rows = [row.get("measured") for row in (value if isinstance(value, list) else [value])]
    return [row for n, row in enumerate(rows) if row not in rows[:n]] if all(rows) else []


def old(path: Path, command: str, weights: Path = DATA / "weights") -> list[str]:
    """Why a result has to be made anew by `command`, as README.md gives it; an empty list if it has not."""
    made = measured(path)
    if not made:
        return [f"{path.name} does not say what it was made from: make it anew with {command}"]
    found = [why for one in made for why in changed(one, command, weights)]
    return [f"{path.name} is old, {why}: make it anew with {command}" for why in found]


def changed(made: dict[str, Any], command: str, weights: Path) -> list[str]:
    """What is not as it was when this was measured."""
    found = []
    known = re.findall(r"`(python [^`]+)`", command)
    if made["command"] not in (*known, *(typed(shlex.split(one)[3:]) for one in known)):
        found.append(f"it was made by {made['command']}")
    for name, then in made["weights"].items():
        card = weights / name / "card.json"
        if card.exists() and identity(json.loads(card.read_text(encoding="utf-8"))) != then:
            found.append(f"the weights {name} have changed")
    for name, then in made["files"].items():
        if not (ROOT / name).exists() or sha256(ROOT / name) != then:
            found.append(f"{name} has changed")
    return found


def test_the_table_names_every_file() -> None:
    assert sorted(ROWS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_of_what_is_there_now_or_says_that_it_is_old(name: str) -> None:
    about, command = ROWS[name]
    found = old(RESULTS / name, command)
    if "**old**" in about:
        assert found, f"{name} is of what is there now; README.md calls it old"
    else:
        assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------------- planted faults

COMMAND = "`python -m course_utils evaluate judge --prompts 3 --out book/results/judge.json`"
MADE = {
    "command": "python -m course_utils evaluate judge --prompts 3",
    "weights": {"judge": {"sha256": "a", "certain": 0.5}},
    "files": {"data/labels/labels.json": sha256(DATA / "labels" / "labels.json")},
}


@pytest.mark.parametrize(
    ("made", "card", "why"),
    [
        (MADE, {"sha256": "a", "certain": 0.5, "quality": "measured since"}, ""),
        (MADE, {"sha256": "b", "certain": 0.5}, "the weights judge have changed"),
        (MADE, {"sha256": "a", "certain": 0.6}, "the weights judge have changed"),
        ({**MADE, "command": MADE["command"].replace("3", "2")}, {"sha256": "a", "certain": 0.5}, "it was made by"),
        (
            {**MADE, "files": {"data/labels/labels.json": "c"}},
            {"sha256": "a", "certain": 0.5},
            "labels.json has changed",
        ),
        ({}, {"sha256": "a", "certain": 0.5}, "does not say what it was made from"),
    ],
)
@pytest.mark.parametrize("kind", [".json", "rows.json", ".png"])
def test_an_old_result_is_found(made: dict, card: dict, why: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "card.json").write_text(json.dumps(card))
    path = tmp_path / f"result{kind}"
    if kind == ".json":
        path.write_text(json.dumps({"measured": made}))
    elif kind == "rows.json":
        path.write_text(json.dumps([{"measured": MADE}, {"measured": made}, {"measured": made}]))
    else:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(1, 1))
        figure.savefig(path, metadata={"Measured": json.dumps(made)})
        plt.close(figure)
    # a row of the table may name several commands, one for each row of the file
    found = old(path, f"`python -m course_utils evaluate other`; {COMMAND}; `python book/figures.py`", tmp_path)
    assert (len(found) == 1 and why in found[0]) if why else found == []
