"""A second copy of the model whose weights are a running average of the trained ones: it draws better pictures."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from course_utils.training.schedules import ema_decay


class Ema:
    """Exponential moving average of a model's parameters; `ema.model` is the averaged copy, in eval mode.

    Buffers (such as the statistics of batch norm) are averages already or constants, and are copied.
    """

    def __init__(self, model: nn.Module, half_life_images: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life_images = half_life_images
        self.averages: list[Tensor] = list(self.model.parameters())
        self.weights: list[Tensor] = list(model.parameters())
        self.kept_buffers, self.buffers = list(self.model.buffers()), list(model.buffers())

    def share(self, images_seen: float, batch_size: int) -> float:
        """How far the average moves in a step that ends at `images_seen`: 1 − decay."""
        return 1 - ema_decay(self.half_life_images, images_seen, batch_size)

    @torch.no_grad()
    def update(self, share: float | Tensor, good: Tensor) -> None:
        """average ← average + share · (weights − average).

        `good` is a boolean scalar on the device. Where it is False the step was skipped, and so the model's own buffers
        go back to what they were before it. `share` may be a scalar there, too.
        """
        # a few kernels for all tensors, not one for each
        if isinstance(share, Tensor):  # PyTorch has no lerp of many tensors by one of them
            moves = torch._foreach_sub(self.weights, self.averages)
            torch._foreach_mul_(moves, share)
            torch._foreach_add_(self.averages, moves)
        else:
            torch._foreach_lerp_(self.averages, self.weights, share)
        for kept, buffer in zip(self.kept_buffers, self.buffers, strict=True):
            kept.copy_(torch.where(good, buffer, kept))
            buffer.copy_(kept)
