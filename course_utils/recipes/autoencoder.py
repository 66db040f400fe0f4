"""Pictures to latents and back, in any world."""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch import Tensor

from course_utils import profile
from course_utils.common import CourseError
from course_utils.generators.flow import load_autoencoder
from course_utils.models.autoencoder import Autoencoder, AutoencoderConfig, autoencoder_loss
from course_utils.recipes import Recipe, sources
from course_utils.recipes.store import Store, add_pictures, kept
from course_utils.training import TrainConfig
from course_utils.training.ahead import Waiting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train autoencoder`."""
    add_pictures(parser)
    parser.add_argument(
        "--channels",
        type=int,
        metavar="N",
        help="numbers of the latents at each place, for a new autoencoder (default: 8)",
    )
    parser.add_argument(
        "--init",
        metavar="NAME",
        help="start from this autoencoder, or from the one inside these weights of a generator",
    )


def recipe(args: argparse.Namespace) -> Recipe:
    """The autoencoder of a world."""
    torch.manual_seed(0)
    if args.init and args.channels is not None:
        raise CourseError("--channels is what a new autoencoder has; leave it out beside --init.")
    given = {} if args.channels is None else {"latent_channels": args.channels}
    if given and args.channels < 1:
        raise CourseError(f"--channels is {args.channels}; it must be 1 at least.")
    model = load_autoencoder(args.init) if args.init else Autoencoder(AutoencoderConfig(**given))
    model = model.train().to(memory_format=torch.channels_last)
    world = sources.open_training(args)
    size = sources.size(args)
    store = Store(world, kept(args), size=size)

    def batches(position: int, n: int, generator: torch.Generator) -> Tensor:
        return store(position, n, generator)["data"].contiguous(memory_format=torch.channels_last)

    config = TrainConfig(
        images=profile.pick(ci=1_000, laptop=400_000, gpu=4_000_000),
        batch_size=profile.pick(ci=32, laptop=64, gpu=256),
        learning_rate=2e-3,
        warmup_images=3_200,
        decay_fraction=1.0,
        ema_half_life_images=8_000,
        log_every_images=3_200,
        compile=profile.pick(ci=False, laptop=False, gpu=True),
    )
    card = {"kind": "autoencoder", "world": args.world, "size": size, "config": dataclasses.asdict(model.config)}
    return Recipe(
        f"autoencoder-{sources.title(args)}",
        "autoencoder",
        model,
        autoencoder_loss,
        batches,
        config,
        card,
        data=f"{sources.about(world, size)}, {store.n:,} of them",
        callbacks=[Waiting(store)],
    )
