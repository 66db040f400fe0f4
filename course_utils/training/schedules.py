"""How the learning rate and the averaging change with the number of images seen. Plain functions, easy to plot."""

from __future__ import annotations

import math

from course_utils.training.config import TrainConfig


def learning_rate(config: TrainConfig, images_seen: float) -> float:
    """Learning rate after `images_seen` images: linear warm-up from 0, constant, then decay to 0 at `config.images`."""
    if images_seen < config.warmup_images:
        return config.learning_rate * images_seen / config.warmup_images
    start = max(config.warmup_images, config.images * (1 - config.decay_fraction))
    if config.decay == "constant" or images_seen <= start:
        return config.learning_rate
    done = min((images_seen - start) / (config.images - start), 1.0)
    left = 1 - done if config.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * left


def ema_decay(half_life_images: float, images_seen: float, batch_size: int) -> float:
    """Share of the old average kept in one step: 0.5 ** (batch_size / half-life).

    The half-life is at most a tenth of the images seen (`images_seen` > 0 counts this step's batch too), so that the random
    first weights do not linger: the first step keeps 0.5 ** 10 of them. Source: Karras et al. 2022 (EDM), 2024 (EDM2).
    """
    return 0.5 ** (batch_size / min(half_life_images, 0.1 * images_seen))
