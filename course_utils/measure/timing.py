"""The course's one timer: warmed up, synchronised, repeated in interleaved rounds, told as a median with its spread."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from course_utils.measure.intervals import bootstrap

Call = Callable[[], object]


class Spread(NamedTuple):
    """Median of some times, with the quartiles below and above it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value three times that value."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    return Spread(middle, low, high)


def milliseconds(call: Call, device: torch.device | str = "cpu") -> float:
    """How long one call takes, until the device has finished what the call asked of it."""
    if torch.device(device).type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def core_milliseconds(call: Call, device: torch.device | str = "cpu") -> float:
    """The same; on a CPU what its cores spent on the call and on processes that it waited for, whatever else runs there."""
    if torch.device(device).type == "cuda":
        return milliseconds(call, device)
    started = time.process_time() + sum(os.times()[2:4])  # its own, finely, and those processes'
    call()
    return 1000 * (time.process_time() + sum(os.times()[2:4]) - started)


def interleaved(
    calls: Mapping[str, Call],
    rounds: int = 7,
    warmup: int = 1,
    device: torch.device | str = "cpu",
    timer: Callable[[Call, torch.device | str], float] = milliseconds,
) -> dict[str, list[float]]:
    """Milliseconds of each call in each round. In a round all are timed once, every second round in the opposite order.

    What slows the machine for a while then slows all of them, so that ratios of one round (`ratio`) mean more than ratios of
    two series that were taken one after the other.
    """
    for call in calls.values():
        for _ in range(warmup):
            timer(call, device)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(timer(calls[name], device))
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, float]:
    """How many times `slow` takes as long as `fast`: the median over the rounds, and a 95 % bootstrap interval of that median."""
    pairs = [a / b for a, b in zip(slow, fast, strict=True)]
    low, high = bootstrap(lambda index: statistics.median(pairs[i] for i in index.tolist()), len(pairs), 400)
    return statistics.median(pairs), low, high
