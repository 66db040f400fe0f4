"""What a run makes of its machine: operations counted, the machine's ceiling measured, memory, watts."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils.training import distributed
from course_utils.training.config import TrainConfig, use_bf16
from course_utils.training.nested import move
from course_utils.training.state import State


def operations(model: nn.Module, loss: Callable[..., Any], batch: Any, n: int) -> float:
    """Multiplications and additions (each counts) of the matrix products, for one picture of a step: forward and backward.

    Counted while a copy of the model computes its loss on a batch of n pictures. Sums, norms and the optimiser are left out:
    they are few, and bound by memory.
    """
    model = copy.deepcopy(model)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss(model, batch)[0].backward()
    return counter.get_total_flops() / n


def ceiling(device: torch.device, bf16: bool) -> float:
    """The most operations per second that this machine shows in a matrix product: of squares, the best of seven."""
    size = 8192 if device.type == "cuda" else 768
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32) for _ in range(2))
    seconds = []
    for _ in range(7):
        wait_for(device)
        began = time.perf_counter()
        a @ b
        wait_for(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)  # what else runs here can only slow it down


def wait_for(device: torch.device) -> None:
    """Until all that was asked of a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """The most memory in use so far, in GB: a GPU's own; on a CPU that of the process, or 0 where that cannot be asked."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def watts(device: torch.device) -> float | None:
    """What a GPU draws, the mean over about a second; None where nobody tells, as beside a CPU."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.power_draw(device) / 1000
    except Exception:  # it needs a package, and a driver that answers
        pass
    asked = ["nvidia-smi", f"--id={device.index or 0}", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


class Hardware:
    """A callback: logs `utilisation` (operations per second by the ceiling of all devices), `memory_gb` (peak) and `watts`.

    Give `train` the `batches` of this object: it keeps the first batch, on which operations are counted.
    """

    def __init__(self, loss: Callable[..., Any], batches: Callable[..., Any], config: TrainConfig):
        self.loss, self.source, self.config = loss, batches, config
        self.every_images = config.images // 40
        self.first: tuple[Any, int] | None = None
        self.operations = self.ceiling = 0.0

    def batches(self, position: int, n: int, generator: torch.Generator) -> Any:
        """The batches of the run."""
        batch = self.source(position, n, generator)
        if self.first is None:
            self.first = (batch, n)
        return batch

    def __call__(self, state: State) -> dict[str, float]:
        if not self.ceiling and self.first is not None:
            batch, n = self.first
            self.operations = operations(state.model, self.loss, move(batch, state.device), n)
            self.ceiling = ceiling(state.device, use_bf16(self.config.precision, state.device))
            self.first = (None, 0)
        rate = state.history[-1]["images_per_second"]
        share = rate * self.operations / (self.ceiling * distributed.ranks())
        found = {"utilisation": share, "memory_gb": peak_memory(state.device)}
        drawn = watts(state.device)
        return found if drawn is None else {**found, "watts": drawn}
