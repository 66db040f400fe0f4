"""Where a run is: its numbers, its log, and how both go into a checkpoint and come back."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.common import CourseError, atomic_path, cannot_write
from course_utils.training import checkpoints, distributed
from course_utils.training.callbacks import Callback
from course_utils.training.config import MAY_CHANGE, TrainConfig

PATIENCE = 5  # so many steps in a row without a finite loss and gradient end the run


@dataclass
class State:
    """A run under way. Callbacks get it; what stands below `seconds`, itself included, is saved as it is."""

    model: nn.Module
    ema_model: nn.Module
    optimiser: torch.optim.Optimizer
    config: TrainConfig
    folder: Path | None
    settings: dict[str, Any]  # the config and what else makes this run what it is
    device: torch.device
    seconds: float = 0.0  # wall time, of all sessions
    images: int = 0
    step: int = 0
    skipped: int = 0  # steps whose loss or gradient was not finite
    skipped_in_a_row: int = 0
    last_loss: float | None = None  # the last finite one
    recent: list[list[float]] = field(default_factory=list)  # since the last log line: loss, gradient norm, details
    history: list[dict[str, Any]] = field(default_factory=list)  # the log

    def progress(self) -> dict[str, Any]:
        names = [f.name for f in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names[names.index("seconds") :]}


def take_stock(state: State, rows: list[Tensor]) -> None:
    """Moves `rows` from the device to `state.recent` and counts skipped steps; CourseError after five in a row."""
    fresh = torch.stack(rows).tolist() if rows else []  # the only place that waits for the device
    rows.clear()
    for step, row in enumerate(fresh, state.step - len(fresh) + 1):
        state.recent.append(row)
        if is_finite(row):
            state.last_loss, state.skipped_in_a_row = row[0], 0
            continue
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row == PATIENCE:
            saved = sorted(state.folder.glob(checkpoints.PATTERN)) if state.folder else []
            last = "none" if state.last_loss is None else f"{state.last_loss:.4g}"
            raise CourseError(
                f"Training stopped at step {step}: {PATIENCE} steps in a row had a loss or gradient that is not finite "
                f"(last finite loss: {last}). Look at the batch of image {(step - 1) * state.config.batch_size}; if the data "
                "is sound, try half the learning rate, a longer warm-up or precision='fp32' in a new folder, starting from "
                f"{f'init=load_weights({str(saved[-1])!r}, ema=False)' if saved else 'the beginning'}."
            )


def is_finite(row: Sequence[float]) -> bool:
    """Whether a row's loss and gradient norm, its first two numbers, are finite."""
    return math.isfinite(row[0]) and math.isfinite(row[1])


def write_log(state: State, names: Sequence[str], rate: float, callbacks: Sequence[Callback]) -> None:
    """Adds a line to the history and to `log.jsonl`: means since the line before, then what the callbacks return."""
    rows = [row for row in state.recent if is_finite(row) and len(row) == len(names)]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)] or [None] * len(names)
    state.recent = []
    before = state.history[-1]["images"] if state.history else 0
    line: dict[str, Any] = {"images": state.images, "seconds": state.seconds, **dict(zip(names, means, strict=True))}
    line |= {
        "learning_rate": float(state.optimiser.param_groups[0]["lr"]),
        "images_per_second": rate,
        "skipped": state.skipped,
    }
    state.history.append(line)
    random_states = checkpoints.random_states(state.device)
    for callback in callbacks if distributed.rank() == 0 else ():
        every = callback.every_images
        if not every or state.images // every > before // every or state.images >= state.config.images:
            line |= callback(state) or {}
            state.model.train()
    checkpoints.set_random_states(random_states, state.device)
    for name, value in line.items():
        if isinstance(value, float):
            line[name] = float(f"{value:.6g}") if math.isfinite(value) else None  # JSON has no NaN
    if state.folder is not None and distributed.rank() == 0:
        try:
            state.folder.mkdir(parents=True, exist_ok=True)
            with (state.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(state.folder / "log.jsonl", error) from error


def save(state: State) -> None:
    """Writes a checkpoint of everything that the rest of the run depends on; all ranks have the same, and rank 0 writes it."""
    assert state.folder is not None
    if distributed.rank() > 0:
        return
    contents = {
        "settings": state.settings,
        "progress": state.progress(),
        "model": state.model.state_dict(),
        "ema_model": state.ema_model.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "random": checkpoints.random_states(state.device),
    }
    checkpoints.save(state.folder, state.images, contents, state.config.keep)


def restore(state: State, resume: bool) -> None:
    """Brings a run back to its newest checkpoint, if it has one, and cuts the log there. CourseError if it does not fit."""
    assert state.folder is not None
    if not resume and distributed.rank() == 0:
        for path in state.folder.glob(checkpoints.PATTERN):
            path.unlink()
    distributed.wait_for_all()
    saved = checkpoints.newest(state.folder)
    if saved is not None:
        for name in sorted(state.settings.keys() | saved["settings"].keys()):
            old, new = saved["settings"].get(name), state.settings.get(name)
            if old != new and name not in MAY_CHANGE:
                raise CourseError(
                    f"The checkpoint in {state.folder} was made with {name} = {old!r}, and now it is {new!r}; "
                    "set it back, choose another folder (--run), or start again (resume=False, --restart)."
                )
        load_into(state.model, saved["model"], f"The checkpoint in {state.folder}")
        load_into(state.ema_model, saved["ema_model"], f"The checkpoint in {state.folder}")
        state.optimiser.load_state_dict(saved["optimiser"])
        checkpoints.set_random_states(saved["random"], state.device)
        for name, value in saved["progress"].items():
            setattr(state, name, value)
    log = state.folder / "log.jsonl"
    if distributed.rank() == 0 and (state.history or log.exists()):
        with atomic_path(log) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in state.history), encoding="utf-8")


def load_into(model: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """`model.load_state_dict`, strict, with a CourseError that names the first difference."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n", 2)[1].split())
        raise CourseError(f"{what} does not fit the model ({detail}); use the config that it was made with.") from error
