"""What the card of trained weights says of how they came to be."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from course_utils.common import ROOT, CourseError, sha256
from course_utils.weights import read_card

HERE = ("--out", "--run", "--device")  # where things lie, and on what they run
FOLDERS = ("--path", "--init", "--beside")
ASIDE = ("--restart", "--json", "--update-card")  # nothing that is made or measured depends on it


def command(what: str, options: Sequence[str]) -> str:
    """The command with which `train` was called; see `typed`."""
    return typed(["train", what, *options])


def typed(typed_words: Sequence[str]) -> str:
    """The command that was typed, without what belongs to one machine: where the run, the weights and other things lie.

    Of folders that are read (FOLDERS) the last name stays.
    """
    kept, words = [], iter(typed_words)
    for word in words:
        name, equals, value = word.partition("=")
        if name in (*HERE, *FOLDERS) and not equals:
            value = next(words, "")
        if name in FOLDERS:
            kept += [name, os.path.basename(os.path.abspath(value))]
        elif name not in HERE + ASIDE:
            kept.append(word)
    return f"python -m course_utils {shlex.join(kept)}"


def measured(command: str, weights: Mapping[str, Any], *files: Path) -> dict[str, Any]:
    """What a result was made by and from: the command, the weights (`loaded.watch_loaded`), the checksums of files that ship.

    tests/test_results.py holds it against what is there now, and so says when a stored result is old.
    """
    sums = {path.relative_to(ROOT).as_posix(): sha256(path) for path in files}
    return {"command": command, "weights": dict(sorted(weights.items())), "files": sums}


def stages(name: str | None) -> list[dict[str, Any]]:
    """How these weights came to be: the commands, images and seconds of each stage, in order."""
    try:
        card = read_card(name) if name else None
    except CourseError:  # what is built on an autoencoder inside `flow-shapes` has none beside it
        card = None
    if card is None:
        return []
    last = {key: card.get(key) for key in ("command", "data", "images_seen", "seconds")}
    return [*card.get("before", []), last]


def machine() -> str:
    """One line on where something was trained or measured."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} CPU thread(s){gpu}, torch {torch.__version__}"


def mean(values: Sequence[float]) -> float | None:
    """Their mean with four digits, None if there are none."""
    return round(sum(values) / len(values), 4) if values else None


def hardware(history: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Utilisation and watts, means over a run, and the most memory: what `training.hardware` has logged."""
    found = {key: [line[key] for line in history if line.get(key) is not None] for key in MEASURED}
    memory = found.pop("memory_gb")
    return {**{key: mean(values) for key, values in found.items()}, "peak_memory_gb": max(memory, default=None)}


MEASURED = ("utilisation", "watts", "memory_gb")


def thinned(history: list[dict[str, Any]], most: int = 30) -> list[dict[str, Any]]:
    """At most about `most` lines of a log, the last among them."""
    step = -(-len(history) // most)
    return history[::-1][::step][::-1]
