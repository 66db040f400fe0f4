"""Two encoders that bring pictures and captions together, in any world."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch

from course_utils import profile
from course_utils.common import CourseError
from course_utils.models.clip import Clip, ClipConfig, clip_loss
from course_utils.recipes import Recipe, sources
from course_utils.recipes.store import Store, add_pictures, kept
from course_utils.training import TrainConfig
from course_utils.training.ahead import Waiting

TOKENS = 64  # longest caption that the model reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train clip`."""
    add_pictures(parser)
    parser.add_argument(
        "--features",
        type=int,
        default=ClipConfig.features,
        metavar="N",
        help="numbers in a vector of the shared space (default: %(default)s)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=ClipConfig.temperature,
        metavar="T",
        help="where the learned temperature begins (default: %(default)s)",
    )


def recipe(args: argparse.Namespace) -> Recipe:
    """CLIP of a world: it learns from pictures and captions alone."""
    coldest = ClipConfig.coldest
    if args.features < 1:
        raise CourseError(f"--features is {args.features}; it must be 1 at least, such as {ClipConfig.features}.")
    if not coldest <= args.temperature <= 1:
        raise CourseError(f"--temperature is {args.temperature}; it must be from {coldest} to 1.")
    world = sources.open_training(args)
    size, title = sources.size(args), sources.title(args)
    about = sources.about(world, size, captions=True)
    tokenizer = sources.tokenizer(world)
    config = ClipConfig(features=args.features, pixels=size, temperature=args.temperature)
    text = dataclasses.replace(config.text, vocabulary=len(tokenizer), longest=TOKENS)
    config = dataclasses.replace(config, text=text)
    store = Store(world, kept(args), size=size, tokenizer=tokenizer, longest=TOKENS)
    torch.manual_seed(0)
    model = Clip(config).to(memory_format=torch.channels_last)
    card: dict[str, Any] = {
        "kind": "clip",
        "world": args.world,
        "config": dataclasses.asdict(config),
        "tokenizer": tokenizer.merges,
        "words": world.words(),
    }
    schedule = TrainConfig(
        images=profile.pick(ci=1_000, laptop=200_000, gpu=4_000_000),
        batch_size=profile.pick(ci=50, laptop=256, gpu=1_024),
        learning_rate=profile.pick(ci=1e-3, laptop=2e-3, gpu=2e-3),
        warmup_images=profile.pick(ci=100, laptop=5_120, gpu=50_000),
        decay_fraction=1.0,
        ema_half_life_images=profile.pick(ci=500, laptop=5_120, gpu=100_000),
        log_every_images=profile.pick(ci=100, laptop=5_120, gpu=51_200),
    )
    return Recipe(
        f"clip-{title}",
        "clip",
        model,
        clip_loss,
        store,
        schedule,
        card,
        data=f"{about}, {store.n:,} of them with {store.rows:,} captions",
        callbacks=[Waiting(store)],
        world=world,
    )
