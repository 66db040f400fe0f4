"""The judge of a world with a grammar, which reads scenes from pictures, to measure generators."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch

from course_utils import profile
from course_utils.common import CourseError
from course_utils.measure import emoji_data, judge_data
from course_utils.models.judge import JudgeConfig, JudgeNetwork, judge_loss
from course_utils.recipes import Recipe, only_in
from course_utils.training import TrainConfig, choose_device, distributed
from course_utils.training.ahead import Ahead, Waiting, workers
from course_utils.weights import config_from, load_weights
from course_utils.worlds import scenes
from course_utils.worlds.emoji_scenes import scenes as emoji

# World: the name of its judge, the judge's sizes, its pictures.
JUDGES: dict[str, tuple[str, JudgeConfig, Any]] = {
    "shapes": ("judge", JudgeConfig(), judge_data.JudgeData(scenes.SEEDS["judge"])),
    "emoji_scenes": (
        "judge-emoji",
        JudgeConfig(
            attributes=(len(emoji.SIZES), len(emoji.NAMES)),
            names=("size", "noun"),
            backgrounds=len(emoji.BACKGROUNDS),
            pixels=emoji_data.PIXELS,
        ),
        emoji_data.JudgeData(emoji.SEEDS["judge"]),
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train judge`."""
    parser.add_argument("--init", metavar="NAME", help="start from this judge")


def recipe(args: argparse.Namespace) -> Recipe:
    """Judge A, on scenes and on what is none; no other network takes part."""
    only_in(args, JUDGES)
    name, config, data = JUDGES[args.world]
    torch.manual_seed(0)
    if args.init:
        start = load_weights(args.init, "judge").card
        if start.get("world", "shapes") != args.world:
            raise CourseError(
                f"The judge {args.init!r} reads the world {start.get('world', 'shapes')}; give one of {args.world}."
            )
        config = config_from(JudgeConfig, start["config"])
    model = JudgeNetwork(config).to(memory_format=torch.channels_last)
    made_by = workers(choose_device(args.device or "auto"))
    batches = Ahead(data, lambda prepared, _: prepared, made_by, distributed.ranks())
    schedule = TrainConfig(
        images=profile.pick(ci=2_000, laptop=240_000, gpu=3_000_000),
        batch_size=profile.pick(ci=64, laptop=64, gpu=256),
        learning_rate=2e-3,
        warmup_images=6_400,
        decay_fraction=1.0,
        ema_half_life_images=6_400,
        log_every_images=6_400,
    )
    card = {"kind": "judge", "world": args.world, "config": dataclasses.asdict(model.config), "certain": 0.5}
    return Recipe(name, "judge", model, judge_loss, batches, schedule, card, callbacks=[Waiting(batches)])
