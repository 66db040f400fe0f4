"""Runs lessons as tests, each cell one: `python -m pytest -p tests.lessons notebooks/*.ipynb`.

This is the one place that knows how. It is done by nbval now, which has had no release since 2024; whatever comes after it
(on top of nbclient, say) is put in here and has to pass tests/test_lessons.py: a cell that raises fails, unless it is tagged
`raises-exception`; what a cell prints is compared with what is stored if it is tagged `nbval-check-output`, but for CHANGING;
`nbval-skip` skips a cell, with the `reason` in its metadata.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

pytest_plugins = ["nbval.plugin", "tests.conftest"]

CELL_SECONDS = 3600  # only against hangs
CHANGING = """
[agree]
regex: largest difference [0-9.e+-]+, allowed
replace: largest difference …, allowed
"""  # what differs from machine to machine in a line that is compared


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Sets what nbval's options would say, before it reads them."""
    config.option.nbval_lax = config.option.nbval_current_env = True
    config.option.nbval_cell_timeout = CELL_SECONDS
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    sanitize = Path(folder.name, "changing.cfg")
    sanitize.write_text(CHANGING, encoding="utf-8")
    config.option.nbval_sanitize_with = str(sanitize)
