"""Batches made ahead of time by other processes, so that a GPU does not wait for them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from course_utils.training import distributed
from course_utils.training.state import State


@dataclass(frozen=True)
class Prepared(Dataset):
    """`prepare(position, n)` for each position: what a worker process computes."""

    prepare: Callable[[int, int], Any]
    n: int

    def __getitem__(self, position: int) -> Any:
        return self.prepare(position, self.n)


class Ahead:
    """The `batches(position, n, generator)` of `train`, in two halves.

    prepare(position, n): what needs no GPU, a pure function; with `workers` > 0 so many forked processes compute it for the
    batches to come. finish(prepared, generator): the rest, on the device of the generator. `every`: which batches are asked
    for, every one or, where so many ranks share a run, every second or third. `waited` counts the seconds that the second half
    waited for the first.
    """

    def __init__(
        self,
        prepare: Callable[[int, int], Any],
        finish: Callable[[Any, torch.Generator], Any],
        workers: int = 0,
        every: int = 1,
    ):
        self.prepare, self.finish, self.workers, self.every = prepare, finish, workers, every
        self.rows: Iterator[Any] = iter(())
        self.following = (-1, 0)  # the position and size that `rows` gives next
        self.waited = 0.0

    def __call__(self, position: int, n: int, generator: torch.Generator) -> Any:
        if (position, n) != self.following:
            self.rows = self.start(position, n)
        began = time.monotonic()
        prepared = next(self.rows)
        self.waited += time.monotonic() - began
        self.following = (position + n * self.every, n)
        return self.finish(prepared, generator)

    def start(self, position: int, n: int) -> Iterator[Any]:
        """The prepared halves from `position` on, without an end."""
        rows = range(position, 1 << 60, n * self.every)
        if self.workers == 0:
            return (self.prepare(at, n) for at in rows)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # each worker has one core
        loader = DataLoader(
            Prepared(self.prepare, n),
            batch_size=None,
            sampler=rows,
            num_workers=self.workers,
            prefetch_factor=8,
            multiprocessing_context="fork",
            generator=torch.Generator(),  # else it would draw from the one that the loss draws from
        )
        return iter(loader)


def workers(device: torch.device) -> int:
    """How many processes make batches ahead: none beside a CPU, which computes itself; all cores but one beside a GPU, shared by the ranks.

    None either where processes cannot be forked (Windows): what they make batches from need not be picklable.
    """
    able = device.type == "cuda" and "fork" in multiprocessing.get_all_start_methods()
    return max(0, (os.cpu_count() or 1) // distributed.ranks() - 1) if able else 0


class Waiting:
    """A callback: logs `waiting`, the share of the time since the last line in which `batches.waited` for its data."""

    every_images = 0

    def __init__(self, batches: Any):
        self.batches, self.before = batches, (0.0, time.monotonic())

    def __call__(self, state: State) -> dict[str, float]:
        now = (self.batches.waited, time.monotonic())
        waited, seconds = (new - old for new, old in zip(now, self.before, strict=True))
        self.before = now
        return {"waiting": waited / max(seconds, 1e-9)}
