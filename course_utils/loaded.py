"""What a run has loaded, weights and modules of course_utils: `run` writes it into the lesson's stamp, and so knows when it is old."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

VARIABLE = "COURSE_LOADED_WEIGHTS"
MODULES = "COURSE_LOADED_MODULES"


def record_loaded(name: str) -> None:
    """Notes that the weights `name` were loaded: a line in the file that COURSE_LOADED_WEIGHTS names; nothing if unset."""
    _note(VARIABLE, name)


def record_modules() -> None:
    """From now on notes each module of course_utils that is imported: a line in the file that COURSE_LOADED_MODULES names.

    A process that is started from here does the same. What is imported already is noted at once.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] == "course_utils"]:
        _note(MODULES, name)
    sys.meta_path.insert(0, _Recorder())


class _Recorder:
    """Is asked for every module that is not there yet, and leaves the finding to others."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] == "course_utils":
            _note(MODULES, name)


def _note(variable: str, name: str) -> None:
    path = os.environ.get(variable)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(name + "\n")
