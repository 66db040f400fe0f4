"""One run on several devices: `torchrun --nproc-per-node 2 -m -- course_utils train …` starts two processes, called ranks.

Each batch is cut into ranks x accumulate equal parts. A rank computes every second part (of two ranks), and before the step one
message makes the mean of all gradients, so that every rank makes the same step and holds the same weights. That is what
`DistributedDataParallel` does, but for one thing: it sends the first gradients while the last are being computed. One message
at the end stays outside of compiled graphs, suits every loss, and is written here to be read. Rank 0 alone logs, measures and saves.
Alone, in a process that torchrun did not start, all of this does nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.training.config import choose_device

PATIENCE = timedelta(minutes=30)  # so long the others wait for rank 0, which may be measuring


@contextlib.contextmanager
def together(device: str = "auto") -> Iterator[None]:
    """Joins the ranks that torchrun started, each on its own GPU or all on CPUs, until the block ends.

    Raises CourseError for more ranks than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or ranks() > 1:
        yield
        return
    kind, local = choose_device(device).type, int(os.environ["LOCAL_RANK"])
    if kind == "cuda":
        if local >= torch.cuda.device_count():
            raise CourseError(
                f"torchrun started more processes than the {torch.cuda.device_count()} GPUs here; start one for each."
            )
        torch.cuda.set_device(local)
    # gloo beside nccl: what ranks agree on besides gradients lies on the CPU, and no GPU waits for it
    dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def wait_for_all() -> None:
    """Goes on when all ranks have come so far."""
    if ranks() > 1:
        dist.all_reduce(torch.zeros(1))


def any_rank(flag: bool) -> bool:
    """Whether one of the ranks says True."""
    if ranks() == 1:
        return flag
    answer = torch.tensor(float(flag))
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return bool(answer)


def of_first(value: float) -> float:
    """Rank 0's value, for all."""
    if ranks() == 1:
        return value
    found = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(found, 0)
    return found.item()


def share_weights(model: nn.Module) -> None:
    """All ranks begin with the parameters and buffers of rank 0."""
    if ranks() > 1:
        for value in [*model.parameters(), *model.buffers()]:
            dist.broadcast(value.detach(), 0)


def average(values: Sequence[Tensor]) -> None:
    """Puts the mean over the ranks into each of these tensors of one type: one message for all of them."""
    if ranks() > 1:
        message = torch.cat([value.detach().reshape(-1) for value in values])
        dist.all_reduce(message)
        message /= ranks()
        for value, mean in zip(values, message.split([value.numel() for value in values]), strict=True):
            value.detach().copy_(mean.view_as(value))
