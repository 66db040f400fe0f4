"""What tests/test_distributed.py runs in two processes at once: `torchrun --nproc-per-node 2 tests/ranks.py FOLDER`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.training import TrainConfig, distributed, train
from course_utils.training.ahead import Ahead

EVERY = {"batch_size": 32, "warmup_images": 320, "ema_half_life_images": 500, "precision": "fp32", "device": "cpu"}


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"images": 1600, "log_every_images": 160, "learning_rate": 0.01, **EVERY, **changes})


def network(seed: int = 5, dropout: float = 0.1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 1))


def points(position: int, n: int) -> Tensor:
    """Images `position` to `position + n` of an endless row."""
    index = torch.arange(position, position + n, dtype=torch.float64)
    return torch.stack([(index * 0.618034) % 2 - 1, (index * 0.754878) % 2 - 1], 1).float()


def exact(position: int, n: int, _: torch.Generator) -> Tensor:
    return points(position, n)


def chosen(position: int, n: int, generator: torch.Generator) -> Tensor:
    """Chosen by chance, as from a store of pictures."""
    return points(0, 500)[torch.randint(500, (n,), generator=generator)]


def square(model: nn.Module, at: Tensor):
    return (model(at) - torch.sin(3 * at[:, :1]) * at[:, 1:]).square().mean(), {"rows": torch.tensor(float(len(at)))}


def noisy_square(model: nn.Module, at: Tensor):
    """With noise from the global generator, as the loss of a flow model has."""
    return square(model, at + 0.1 * torch.randn_like(at))


def stopped(at: int):
    """`chosen`, and rank 1 is asked to stop when it comes to this picture."""

    def batches(position: int, n: int, generator: torch.Generator) -> Tensor:
        if distributed.rank() == 1 and position <= at < position + n:
            os.kill(os.getpid(), signal.SIGTERM)
        return chosen(position, n, generator)

    return batches


def main(folder: Path) -> None:
    called: list[int] = []

    class Note:
        every_images = 0

        def __call__(self, state) -> dict[str, float]:
            called.append(state.images)
            return {"random": torch.rand(1).item()}

    torch.set_num_threads(1)
    with distributed.together("cpu"):
        rank = distributed.rank()
        found = {
            # as if each rank had drawn other first weights: those of rank 0 count
            "whole": train(network(5 + rank, 0), square, exact, config(), callbacks=[Note()]),
            "ahead": train(network(dropout=0), square, Ahead(points, lambda at, _: at, every=2), config()),
            "parts": train(network(), noisy_square, chosen, config(accumulate=2), folder=folder / "parts"),
        }
        try:
            train(network(), noisy_square, stopped(810), config(accumulate=2), folder=folder / "stopped")
        except CourseError as error:
            said = str(error)
        try:
            train(network(), square, exact, config(batch_size=33))
        except CourseError as error:
            refused = str(error)
        everything = {
            name: {"history": r.history, "model": r.model.state_dict(), "ema": r.ema_model.state_dict()}
            for name, r in found.items()
        }
        torch.save({**everything, "called": called, "said": said, "refused": refused}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
