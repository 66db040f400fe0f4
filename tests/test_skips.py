"""In CI a skip that nobody listed is a failure, wherever it happens; elsewhere it is only printed with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

EVERY_WAY = {
    "in_the_test": "def test_one():\n    pytest.skip('no luck')\n",
    "by_a_mark": "@pytest.mark.skip(reason='no luck')\ndef test_one():\n    pass\n",
    "of_a_module": "pytest.importorskip('no_such_package_here', reason='no luck')\n",
    "expected_failure": "@pytest.mark.xfail(reason='no luck')\ndef test_one():\n    assert False\n",
    "none": "def test_one():\n    pass\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test files that are skipped in every way there is."""
    folder = tmp_path_factory.mktemp("skips")
    for name, code in EVERY_WAY.items():
        (folder / f"test_{name}.py").write_text("import pytest\n\n" + code)
    return folder


def outcomes(folder: Path, *options: str, **environment: str) -> str:
    fixed = f"-c {ROOT / 'pyproject.toml'} -p tests.conftest -p no:cacheprovider --continue-on-collection-errors"
    command = [sys.executable, "-m", "pytest", *fixed.split(), *options, str(folder)]
    env = {**os.environ, "COURSE_NO_SKIPS": "", **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_skip_is_printed_with_its_reason(folder: Path) -> None:
    text = outcomes(folder)
    assert "1 passed, 3 skipped, 1 xfailed" in text
    assert "no luck" in text


def test_a_skip_that_nobody_listed_fails_in_ci(folder: Path) -> None:
    text = outcomes(folder, "-n", "2", COURSE_NO_SKIPS="1")  # one process: see below
    assert "1 passed" in text and "skipped" not in text.splitlines()[-1]
    for name in ("in_the_test", "by_a_mark", "of_a_module"):
        assert f"test_{name}.py" in text.partition("short test summary")[2]
    assert "was skipped (no luck), and tests/allowed_skips.txt does not name it" in text


def test_a_listed_skip_is_allowed_by_its_name_or_its_reason(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "allowed.txt"
    listed.write_text("# a note\n*by_a_mark.py::test_one  # this machine has none\n")
    text = outcomes(folder, COURSE_NO_SKIPS="1", COURSE_ALLOWED_SKIPS=str(listed))
    assert "1 passed, 1 skipped, 1 xfailed" in text
    listed.write_text("no lu?k\n")
    text = outcomes(folder, COURSE_NO_SKIPS="1", COURSE_ALLOWED_SKIPS=str(listed))
    assert "1 passed, 3 skipped, 1 xfailed" in text
