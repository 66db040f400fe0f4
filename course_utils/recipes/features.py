"""Self-supervised features for fidelity and diversity: no label is used."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from torch import Tensor

from course_utils.measure.worlds import MEASURED
from course_utils.models.features import FeatureNetwork, FeaturesConfig, barlow_twins_loss
from course_utils.recipes import Recipe, only_in
from course_utils.training import TrainConfig, choose_device, distributed
from course_utils.training.ahead import Ahead, Waiting, workers


def recipe(args: argparse.Namespace) -> Recipe:
    """The feature network of `measure.fidelity`, of a world whose generators can be measured."""
    only_in(args, MEASURED)
    of = MEASURED[args.world]

    def prepare(position: int, n: int) -> Any:
        return of.scenes(of.seeds["features"], position, n)

    def finish(prepared: Any, generator: torch.Generator) -> Tensor:
        return of.render(prepared, device=generator.device)

    torch.manual_seed(0)
    pixels = finish(prepare(0, 1), torch.Generator()).shape[-1]
    model = FeatureNetwork(FeaturesConfig(pixels=pixels)).to(memory_format=torch.channels_last)
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
    card = {"kind": "features", "world": args.world, "config": dataclasses.asdict(model.config)}
    return Recipe(
        of.features, "features", model, barlow_twins_loss, batches, config, card, callbacks=[Waiting(batches)]
    )
