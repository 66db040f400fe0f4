"""Checkpoints that survive a killed process, a full disk and a damaged file, and the random states that belong in them.

A checkpoint is `IMAGES-SUM.pt`, where SUM is the start of the file's SHA-256: a file that does not match its name is damaged.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_utils.common import CourseError, atomic_path

PATTERN = "[0-9]*-*.pt"


def save(folder: Path, images: int, contents: Mapping[str, Any], keep: int) -> Path:
    """Writes a checkpoint at `images` images seen and deletes all but the last `keep`.

    Raises CourseError when the disk is full or a file-size limit is hit; the checkpoints before are still there then.
    """
    memory = io.BytesIO()  # so that a full disk is met by one plain write, which atomic_path knows how to undo
    torch.save(dict(contents), memory)
    data = memory.getvalue()
    path = folder / f"{images:012d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
    with atomic_path(path) as part:
        part.write_bytes(data)
    # Files at or beyond this point are damaged or of an abandoned run: the newest file must be the one just written.
    others = [other for other in sorted(folder.glob(PATTERN)) if other != path]
    before = [other for other in others if int(other.name.split("-")[0]) < images]
    for other in [*others, *folder.glob(".*.part*")]:  # .part: left by a run that was killed while it wrote
        if other not in before[len(before) - keep + 1 :]:
            other.unlink(missing_ok=True)
    return path


def read(path: Path) -> dict[str, Any]:
    """Contents of one checkpoint, on the CPU. Raises CourseError if it is damaged."""
    try:
        data = path.read_bytes()
        if not path.stem.endswith(hashlib.sha256(data).hexdigest()[:16]):
            raise CourseError(f"The checkpoint {path} is damaged: its content does not match the sum in its name.")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise CourseError(f"The checkpoint {path} cannot be read: {str(error).splitlines()[0]}") from error


def newest(folder: Path) -> dict[str, Any] | None:
    """Contents of the newest readable checkpoint in `folder`; None if there are no checkpoints.

    A damaged one is named in a line on stderr and the one before is used. Raises CourseError if none can be read.
    """
    paths = sorted(folder.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return read(path)
        except CourseError as error:
            print(f"Warning: {error} Trying the one before.", file=sys.stderr)
    if paths:
        raise CourseError(
            f"None of the {len(paths)} checkpoints in {folder} can be read; "
            "start again (resume=False, --restart) or in another folder (--run)."
        )
    return None


def load_weights(path: str | Path, *, ema: bool = True) -> dict[str, Tensor]:
    """State dict of the averaged (or, with ema=False, the trained) weights in a checkpoint or a folder of checkpoints.

    Raises CourseError if there is none or it is damaged.
    """
    path = Path(path)
    contents = read(path) if path.suffix == ".pt" else newest(path)
    if contents is None:
        raise CourseError(f"There is no checkpoint in {path}; train first, or name another folder.")
    return contents["ema_model" if ema else "model"]


def seed_everything(seed: int) -> None:
    """Seeds the global random generators of torch (all devices), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def random_states(device: torch.device) -> dict[str, Any]:
    """States of the global random generators of torch (CPU and `device`), numpy and Python, in types torch.load trusts."""
    numpy_state = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    states = {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": random.getstate()}
    if device.type != "cpu":
        states["device"] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Puts back what `random_states` gave. The device's own state is left out if the run moved to another kind of device."""
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(states["device"])
