"""One step of training, and the same step recorded once as a CUDA graph and replayed.

A step asks for hundreds of small operations, each of which costs Python and the driver time. Where the GPU computes them faster than
they are asked for, as with a small model, it waits; a graph is asked for once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.graphs import Recorder
from course_utils.training import distributed
from course_utils.training.ema import Ema
from course_utils.training.nested import changed, fill

Loss = Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, Tensor | float]]]
WARM_UP = 3  # steps that are made before one is recorded


class Step:
    """A step of the optimiser: gradients of a batch, their norm, the weights, and their running average."""

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimiser: torch.optim.Optimizer,
        ema: Ema,
        *,
        clip: float,
        accumulate: int,
        bf16: bool,
        device: torch.device,
    ):
        self.model, self.loss, self.optimiser, self.ema = model, loss, optimiser, ema
        self.clip, self.accumulate, self.bf16, self.device = clip, accumulate, bf16, device
        # It scales by 1, which is nothing: it is here to leave out steps whose gradient is not finite. With a fused optimiser the
        # device decides that by itself, and the CPU need not wait to hear of it.
        self.scaler = torch.amp.GradScaler(device.type, init_scale=1.0)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.statistics = [b for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
        self.names: list[str] = []  # of the numbers that the last step returned

    def __call__(self, parts: Iterable[Any], rate: float | Tensor, share: float | Tensor) -> Tensor:
        """Makes a step on a batch that comes in parts, each on the device. The averaged weights move by `share` towards the new ones.

        Returns a vector of the numbers in `names`, on the device: nothing here waits for it.
        """
        self.optimiser.zero_grad()
        rows = []
        for batch in parts:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                value, details = self.loss(self.model, batch)
            self.scaler.scale(value / self.accumulate).backward()
            numbers = [torch.as_tensor(v, device=self.device).detach().float() for v in (value, *details.values())]
            rows.append(torch.stack(numbers))
        self.names = ["loss", "gradient_norm", *details]
        means = torch.stack(rows).mean(0)
        gradients = [p.grad for p in self.trained if p.grad is not None]
        distributed.average([*gradients, *self.statistics, means])
        norm = nn.utils.get_total_norm(gradients)
        good = means[0].isfinite() & norm.isfinite()
        # A norm that is no number makes every gradient so, by which the scaler knows a step to leave out.
        nn.utils.clip_grads_with_norm_(self.model.parameters(), self.clip, torch.where(good, norm, torch.nan))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimiser)
        self.scaler.update(1.0)
        self.ema.update(share, good)
        return torch.cat([means[:1], norm.view(1), means[1:]])


class Recorded:
    """A `Step` that is recorded as one CUDA graph: batch, rate and share are copied to where it reads them, and it is replayed.

    The first WARM_UP steps are made as ever, in which the optimiser also makes its state; what is recorded is the next one, and that
    too is made once, by the first replay. The loss must do the same operations each time and draw noise only on the device; a batch
    comes in one part. The optimiser must be of the fused kind, which reads its rate on the device.
    """

    def __init__(self, step: Step):
        """Raises CourseError if the device is not a GPU."""
        self.step, self.recorder = step, Recorder(step.device)
        self.rate, self.share = (torch.zeros((), device=step.device) for _ in range(2))
        self.made = 0
        self.batch: Any = None
        self.replay: Callable[[], object] | None = None
        self.row = torch.empty(0)

    def __call__(self, parts: Iterable[Any], rate: float, share: float) -> Tensor:
        """What `Step` does and returns. Raises CourseError for a loss that cannot be recorded, and a batch of another shape."""
        (batch,) = parts
        self.rate.fill_(rate)
        self.share.fill_(share)
        if self.batch is None:
            self.batch = changed(batch, torch.clone)
        fill(self.batch, batch)
        self.made += 1
        if self.made <= WARM_UP:
            before = host_random(self.step.device)
            row = self.recorder.run(self.compute)
            if self.made == WARM_UP and host_random(self.step.device) != before:
                raise CourseError(
                    "This loss draws random numbers beside the device that it computes on, and a recorded step would repeat them; "
                    "leave out `graph` (--graph)."
                )
            return row
        if self.replay is None:
            for group in self.step.optimiser.param_groups:
                group["capturable"] = True  # PyTorch asks for it; fused optimisers do the same with and without
            try:
                self.replay, self.row = self.recorder.record(self.compute)
            except RuntimeError as error:
                reason = str(error.__context__ or error).splitlines()[0]
                raise CourseError(f"This step cannot be recorded ({reason}); leave out `graph` (--graph).") from error
        self.replay()
        return self.row.clone()

    def compute(self) -> Tensor:
        """The step, on the memory that stays."""
        return self.step([self.batch], self.rate, self.share)


def host_random(device: torch.device) -> tuple[Any, ...]:
    """The states of the random generators that do not belong to the device."""
    numpy_state = np.random.get_state(legacy=False)["state"]
    torch_state = torch.get_rng_state().numpy().tobytes() if device.type != "cpu" else b""
    return torch_state, random.getstate(), numpy_state["key"].tobytes(), numpy_state["pos"]
