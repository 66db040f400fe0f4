"""What a training run is told: one frozen dataclass, and the choices that depend on the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from course_utils.common import CourseError

# What may change when a run goes on; any other field would make it another run.
MAY_CHANGE = "images device compile graph log_every_images checkpoint_minutes checkpoint_images keep".split()


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Progress and all intervals are counted in images seen, so they do not depend on the batch size."""

    images: int  # stop when so many have been seen (rounded up to a whole batch)
    batch_size: int = 128  # images for one step of the optimiser
    accumulate: int = 1  # the batch is computed in so many equal parts: less memory, same mathematics
    learning_rate: float = 1e-3
    warmup_images: int = 25_000  # linear from 0
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # to 0, over the last `decay_fraction` of `images`
    decay_fraction: float = 0.5
    betas: tuple[float, float] = (0.9, 0.98)  # 0.98 forgets old gradient sizes in 50 steps: right for short runs
    weight_decay: float = 0.01  # matrices only
    clip: float = 1.0  # largest global norm of the gradient
    ema_half_life_images: int = 50_000
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware computes in it
    compile: bool = False
    graph: bool = False  # record the whole step as one CUDA graph, where the GPU waits for Python (`training/step.py`)
    device: str = "auto"  # auto: cuda if there is one, else cpu
    seed: int = 0
    log_every_images: int = 5_000
    checkpoint_minutes: float = 3.0
    checkpoint_images: int | None = None  # save by images seen instead of by the clock
    keep: int = 2  # so many checkpoints stay

    def __post_init__(self) -> None:
        for name in ("images", "batch_size", "accumulate", "log_every_images", "keep", "learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise CourseError(f"TrainConfig.{name} is {getattr(self, name)}; it must be greater than 0.")
        if self.batch_size % self.accumulate:
            raise CourseError(
                f"A batch of {self.batch_size} cannot be computed in {self.accumulate} equal parts; "
                "choose an `accumulate` that divides `batch_size`."
            )
        if self.graph and self.accumulate > 1:
            raise CourseError(
                f"A recorded step (`graph`) computes its batch whole, and `accumulate` is {self.accumulate}; leave out one of them."
            )
        for name, known in (("decay", ("cosine", "linear", "constant")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in known:
                raise CourseError(
                    f"TrainConfig.{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}."
                )
        if not 0 <= self.decay_fraction <= 1:
            raise CourseError(f"TrainConfig.decay_fraction is {self.decay_fraction}; it must lie between 0 and 1.")

    def part(self, ranks: int) -> int:
        """How many images are computed at a time when so many processes share a batch. CourseError if they cannot evenly."""
        if self.batch_size % (self.accumulate * ranks):
            raise CourseError(
                f"A batch of {self.batch_size} cannot be shared evenly by {ranks} processes with {self.accumulate} part(s) each; "
                "choose a `batch_size` that both divide."
            )
        return self.batch_size // (self.accumulate * ranks)


def choose_device(name: str) -> torch.device:
    """The device that "auto" or a torch name such as "cuda" or "cpu" stands for; CourseError if there is none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise CourseError(f'The device {name!r} cannot be used here; choose "auto" or "cpu".') from error
    return torch.device(name)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: as asked, or for "auto" where the hardware has the instructions (else it is slow)."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, check, bool)() for check in checks)
