"""Pictures to latents and back, in any world."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from torch import Tensor

from course_utils import profile
from course_utils.models.autoencoder import Autoencoder, autoencoder_loss
from course_utils.recipes import Recipe
from course_utils.recipes.sources import ShapesSource, open_source, workers
from course_utils.training import TrainConfig
from course_utils.training.ahead import Ahead, Waiting
from course_utils.worlds.scenes import SEEDS


def recipe(args: argparse.Namespace) -> Recipe:
    """The autoencoder of a world."""
    torch.manual_seed(0)
    model = Autoencoder().to(memory_format=torch.channels_last)
    source = ShapesSource(seed=SEEDS["autoencoder"]) if args.world == "shapes" else open_source(args.world, args.path)

    def finish(prepared: Any, generator: torch.Generator) -> Tensor:
        return source.images(prepared, generator.device).contiguous(memory_format=torch.channels_last)

    batches = Ahead(source.prepare, finish, workers(args.device))
    config = TrainConfig(
        images=profile.pick(ci=1_000, laptop=400_000, gpu=4_000_000),
        batch_size=profile.pick(ci=32, laptop=64, gpu=256),
        learning_rate=2e-3,
        warmup_images=3_200,
        decay_fraction=1.0,
        ema_half_life_images=8_000,
        log_every_images=3_200,
    )
    card = {"kind": "autoencoder", "world": args.world, "config": dataclasses.asdict(model.config)}
    return Recipe(
        f"autoencoder-{args.world}",
        "autoencoder",
        model,
        autoencoder_loss,
        batches,
        config,
        card,
        data=source.about(captions=False),
        callbacks=[Waiting(batches)],
    )
