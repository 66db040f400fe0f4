"""The judge, which reads scenes from pictures, to measure generators."""

from __future__ import annotations

import argparse
import dataclasses

import torch

from course_utils import profile
from course_utils.measure.judge_data import JudgeData
from course_utils.models.judge import JudgeNetwork, judge_loss
from course_utils.recipes import Recipe, only_shapes
from course_utils.training import TrainConfig, choose_device, distributed
from course_utils.training.ahead import Ahead, Waiting, workers
from course_utils.worlds.scenes import SEEDS


def recipe(args: argparse.Namespace) -> Recipe:
    """Judge A, on scenes and on what is none; no other network takes part."""
    only_shapes(args)
    torch.manual_seed(0)
    model = JudgeNetwork().to(memory_format=torch.channels_last)
    batches = Ahead(
        JudgeData(SEEDS["judge"]),
        lambda prepared, _: prepared,
        workers(choose_device(args.device or "auto")),
        distributed.ranks(),
    )
    config = TrainConfig(
        images=profile.pick(ci=2_000, laptop=240_000, gpu=3_000_000),
        batch_size=profile.pick(ci=64, laptop=64, gpu=256),
        learning_rate=2e-3,
        warmup_images=6_400,
        decay_fraction=1.0,
        ema_half_life_images=6_400,
        log_every_images=6_400,
    )
    card = {"kind": "judge", "world": "shapes", "config": dataclasses.asdict(model.config), "certain": 0.5}
    return Recipe("judge", "judge", model, judge_loss, batches, config, card, callbacks=[Waiting(batches)])
