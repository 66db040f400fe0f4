"""Which shipped weights a run has loaded: the loader says so here, `run` writes it into the lesson's stamp."""

from __future__ import annotations

import os

VARIABLE = "COURSE_LOADED_WEIGHTS"


def record_loaded(name: str) -> None:
    """Notes that the weights `name` were loaded: a line in the file that COURSE_LOADED_WEIGHTS names; nothing if unset."""
    path = os.environ.get(VARIABLE)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(name + "\n")
