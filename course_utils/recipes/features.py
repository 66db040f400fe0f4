"""Self-supervised features for fidelity and diversity: no label is used."""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch import Tensor

from course_utils.models.features import FeatureNetwork, barlow_twins_loss
from course_utils.recipes import Recipe, only_shapes
from course_utils.training import TrainConfig, choose_device, distributed
from course_utils.training.ahead import Ahead, Waiting, workers
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, Scenes, scenes


def prepare(position: int, n: int) -> Scenes:
    """The scenes of a batch."""
    return scenes(SEEDS["features"], position, n)


def finish(prepared: Scenes, generator: torch.Generator) -> Tensor:
    """Their pictures (n, 3, 32, 32) in [0, 1]."""
    return render(prepared, device=generator.device)


def recipe(args: argparse.Namespace) -> Recipe:
    """The feature network of `measure.fidelity`."""
    only_shapes(args)
    torch.manual_seed(0)
    model = FeatureNetwork().to(memory_format=torch.channels_last)
    batches = Ahead(prepare, finish, workers(choose_device(args.device or "auto")), distributed.ranks())
    config = TrainConfig(
        images=100_000,
        batch_size=256,
        learning_rate=2e-3,
        warmup_images=5_000,
        decay_fraction=1.0,
        ema_half_life_images=5_000,
        log_every_images=5_120,
    )
    card = {"kind": "features", "world": "shapes", "config": dataclasses.asdict(model.config)}
    return Recipe("features", "features", model, barlow_twins_loss, batches, config, card, callbacks=[Waiting(batches)])
