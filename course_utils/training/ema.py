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

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int, good: Tensor) -> None:
        """average ← decay · average + (1 − decay) · weights, after a step that ended at `images_seen`.

        `good` is a boolean scalar on the device. Where it is False the step was skipped, and so the model's own buffers
        go back to what they were before it.
        """
        decay = ema_decay(self.half_life_images, images_seen, batch_size)
        torch._foreach_lerp_(self.averages, self.weights, 1 - decay)  # one kernel for all tensors, not one for each
        for kept, buffer in zip(self.kept_buffers, self.buffers, strict=True):
            kept.copy_(torch.where(good, buffer, kept))
            buffer.copy_(kept)
