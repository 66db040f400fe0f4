"""What `-p tests.lessons` promises to those who write lessons, whichever library keeps it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def code(source: str, stored: str, *tags: str, **metadata: Any) -> dict[str, Any]:
    outputs = [{"output_type": "stream", "name": "stdout", "text": stored}] if stored else []
    metadata = {"tags": list(tags), **metadata}
    return {"cell_type": "code", "source": source, "outputs": outputs, "execution_count": 1, "metadata": metadata}


AGREE = "from course_utils.classroom.proof import agree\nagree('a', 0.1 + 0.2, 0.3, 1e-{})"
CELLS = {  # name: (cell, what becomes of it)
    "same": (code("print(1)", "1\n", "nbval-check-output"), "PASSED"),
    "other output, compared": (code("print(2)", "1\n", "nbval-check-output"), "FAILED"),
    "other output, not compared": (code("print(3)", "1\n"), "PASSED"),
    "an error": (code("1 / 0", ""), "FAILED"),
    "an error that is meant": (code("1 / 0", "", "raises-exception"), "PASSED"),
    "skipped": (code("raise SystemExit", "", "nbval-skip", reason="needs a display"), "SKIPPED"),
    "rounding of another machine": (
        code(AGREE.format(12), "a: largest difference 0, allowed 1e-12\n", "nbval-check-output"),
        "PASSED",
    ),
    "another tolerance": (
        code(AGREE.format(9), "a: largest difference 6e-17, allowed 1e-12\n", "nbval-check-output"),
        "FAILED",
    ),
    "no difference where there is one line": (code(AGREE.format(12), "a\n", "nbval-check-output"), "FAILED"),
    "in the small profile, drawing into the page": (
        code(
            "import os\nprint(os.environ['COURSE_PROFILE'], os.environ['MPLBACKEND'][:6])",
            "ci module\n",
            "nbval-check-output",
        ),
        "PASSED",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each cell, in the words of pytest -v; and, under "text", all that it printed."""
    path = tmp_path_factory.mktemp("lessons") / "07_trial.ipynb"
    cells = [{**cell, "id": f"c{n}"} for n, (cell, _) in enumerate(CELLS.values())]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    options = f"-c {ROOT / 'pyproject.toml'} -p tests.lessons -p no:cacheprovider -v"
    command = [sys.executable, "-m", "pytest", *options.split(), str(path)]
    ours = ("MPLBACKEND", "COURSE_NO_SKIPS")  # the skip of the trial is meant
    env = {name: value for name, value in os.environ.items() if name not in ours} | {"COURSE_PROFILE": "ci"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    found = re.findall(r"::Cell (\d+) (PASSED|FAILED|SKIPPED)", done.stdout.partition("short test summary")[0])
    return {name: dict(found).get(str(n), "?") for n, name in enumerate(CELLS)} | {"text": done.stdout + done.stderr}


@pytest.mark.parametrize("name", CELLS)
def test_cells(outcomes: dict[str, str], name: str) -> None:
    assert outcomes[name] == CELLS[name][1], outcomes["text"]


def test_a_skip_says_its_reason(outcomes: dict[str, str]) -> None:
    assert "needs a display" in outcomes["text"]


def test_nobody_else_knows_the_library() -> None:
    """Its name stands in tags, in the list of dependencies, and in tests/lessons.py; its options nowhere else."""
    places = [*ROOT.glob("course_utils/**/*.py"), *ROOT.glob("tests/*.py"), *ROOT.glob("book/*.py"), ROOT / "Makefile"]
    places += [ROOT / ".ci" / "run", ROOT / "README.md"]
    seam = {ROOT / "tests" / "lessons.py", Path(__file__)}
    told = re.compile(r"--nbval|nbval[._](?!check-output|skip)\w|import nbval|-p no:nbval")
    assert not [path.name for path in places if path not in seam and told.search(path.read_text(encoding="utf-8"))]
