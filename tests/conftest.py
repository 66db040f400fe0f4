"""For every run of the tests: its own COURSE_HOME, the small profile, no progress bars; and, in CI, no skip that is not on the list.

`make test` loads this file for the lessons too, through tests/lessons.py.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import course_utils  # noqa: F401  sets the OpenMP variables before any test imports torch

ALLOWED_SKIPS = Path(os.environ.get("COURSE_ALLOWED_SKIPS") or Path(__file__).with_name("allowed_skips.txt"))


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("COURSE_PROFILE", "ci")
    os.environ.setdefault("TQDM_DISABLE", "1")
    if not config.pluginmanager.has_plugin("tests.lessons"):  # lessons draw into the page, tests into nothing
        os.environ.setdefault("MPLBACKEND", "agg")
    if not hasattr(config, "workerinput"):  # workers inherit the folder of the process that started them
        config.course_home = tempfile.mkdtemp(prefix="course-tests-")  # type: ignore[attr-defined]
        os.environ["COURSE_HOME"] = config.course_home  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    if home := getattr(config, "course_home", None):
        shutil.rmtree(home, ignore_errors=True)


def allowed_skips() -> list[str]:
    """Patterns of tests/allowed_skips.txt: each line matches the id of a test or the reason it gives."""
    lines = (line.partition("#")[0].strip() for line in ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure when COURSE_NO_SKIPS=1 and no allowed pattern fits."""
    if os.environ.get("COURSE_NO_SKIPS") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if any(fnmatch.fnmatchcase(text, pattern) for pattern in allowed_skips() for text in (report.nodeid, reason)):
        return
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped ({reason}), and tests/allowed_skips.txt does not name it."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    reason = getattr(item, "cell", {}).get("metadata", {}).get("reason")  # of a lesson's cell that is skipped
    if report.skipped and reason:
        report.longrepr = (str(item.path), None, f"Skipped: {reason}")
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    forbid_skip(report)
    return report
