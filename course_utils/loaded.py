"""What a run has loaded, weights and modules of course_utils: `run` writes it into the lesson's stamp, and so knows when it is old."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLE = "COURSE_LOADED_WEIGHTS"
MODULES = "COURSE_LOADED_MODULES"
DECIDES = ("sha256", "certain", "sampler")  # of a card: what decides how its weights behave

_watching: list[dict[str, Any]] = []


def record_loaded(name: str, card: Mapping[str, Any] | None = None) -> None:
    """Notes that the weights `name` were loaded: a line in the file that COURSE_LOADED_WEIGHTS names, nothing if unset; and to
    each `watch_loaded` their `identity`.
    """
    _note(VARIABLE, name)
    for weights in _watching:
        weights[name] = identity(card or {})


def identity(card: Mapping[str, Any]) -> dict[str, Any]:
    """What says of a card whether its weights still do what they did: their checksum, and how they are used by default."""
    return {key: card[key] for key in DECIDES if key in card}


@contextlib.contextmanager
def watch_loaded() -> Iterator[dict[str, Any]]:
    """A dictionary that fills with what is loaded inside the block: name of the weights, and their `identity`."""
    weights: dict[str, Any] = {}
    _watching.append(weights)
    try:
        yield weights
    finally:
        _watching.pop()


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
