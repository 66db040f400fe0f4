"""CUDA graphs: the kernels of a function recorded once, and replayed without Python between them.

A graph reads and writes always the same memory, and repeats what was done when it was recorded: numbers that Python chose then stay as
they were. PyTorch, "CUDA semantics", section "CUDA Graphs", says what may be recorded.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from course_utils.common import CourseError

T = TypeVar("T")


class Recorder:
    """Runs functions on a stream of its own, and records one there.

    What will be recorded must have run before: libraries choose their kernels then, and code is compiled. It must have run on a stream other than
    the default one, as the backward pass computes where the forward pass did.
    """

    def __init__(self, device: torch.device):
        """Raises CourseError for what is no CUDA device."""
        if device.type != "cuda":
            raise CourseError(f"CUDA graphs need a CUDA device, and this is {device}; leave out `graph` (--graph).")
        self.stream = torch.cuda.Stream(device)

    def run(self, function: Callable[[], T]) -> T:
        """What the function returns; all that was asked of the device before comes first, and all that comes later waits."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            out = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return out

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], object], T]:
        """What repeats the function's kernels, and what the function returned, which each replay writes anew.

        Recording computes nothing: the first replay does. Noise is fresh in each, as the device's generator goes on.
        """
        gc.collect()  # what is freed while a graph is recorded may spoil it
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            out = function()
        return graph.replay, out


def capture(function: Callable[[], T]) -> tuple[Callable[[], object], T]:
    """`Recorder.record` of a function that may be run three times before."""
    recorder = Recorder(torch.device("cuda"))
    for _ in range(3):
        recorder.run(function)
    return recorder.record(function)
