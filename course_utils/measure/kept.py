"""What an interrupted measurement has found so far, kept in a file, so that the same command goes on where it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from course_utils.common import atomic_path


class Kept:
    """Stages of a measurement: `kept(name, make)` gives what an earlier run found for this name, else what `make()` finds now.

    path: the file, or None to keep nothing. of: everything that the findings depend on; a file that was kept of anything else is
    not used. Values are numbers, words, lists, dictionaries and tensors.
    """

    def __init__(self, path: Path | None = None, of: object = None):
        self.path, self.key = path, hashlib.sha256(repr(of).encode()).hexdigest()
        self.values: dict[str, Any] = {}
        if path is not None and path.exists():
            there = torch.load(path, weights_only=True)
            self.values = there["values"] if there["key"] == self.key else {}

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.values:
            self.values[name] = make()
            if self.path is not None:
                with atomic_path(self.path) as part:
                    torch.save({"key": self.key, "values": self.values}, part)
        return self.values[name]

    def drop(self) -> None:
        """Removes the file: the measurement is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
