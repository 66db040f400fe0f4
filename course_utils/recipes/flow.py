"""The text-to-image model, in the latents of an autoencoder or in pixels, in any world: it learns from pictures and captions alone."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from torch import Tensor

from course_utils import profile
from course_utils.common import CourseError
from course_utils.generators.flow import load_autoencoder
from course_utils.language.tokenizer import Tokenizer
from course_utils.models.dit import PRESETS, DiT, DiTConfig, drop_captions, flow_loss
from course_utils.recipes import Recipe, sources
from course_utils.recipes.store import Store, add_pictures, kept
from course_utils.training import TrainConfig
from course_utils.training.ahead import Waiting
from course_utils.weights import config_from, load_weights
from course_utils.worlds.captioned import Captioned

DROP_CAPTION = 0.1  # share of captions replaced by the empty one: guidance starts from there
TOKENS = 64  # longest caption that the model reads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train flow`."""
    parser.add_argument(
        "--space", choices=["latents", "pixels"], default="latents", help="where the model works (default: %(default)s)"
    )
    parser.add_argument(
        "--patch",
        type=int,
        metavar="N",
        help="side of a patch in pixels, with --space pixels: larger is faster (default: an eighth of the picture)",
    )
    parser.add_argument(
        "--preset", choices=[*PRESETS], default="small", help="how large the model is (default: %(default)s)"
    )
    add_pictures(parser)
    parser.add_argument(
        "--watch",
        type=int,
        default=16,
        metavar="N",
        help="draw N prompts twenty times in the run, and log what a judge says of them; 0: not at all (default: %(default)s)",
    )
    parser.add_argument("--init", metavar="NAME", help="start from these weights of the same space")
    parser.add_argument(
        "--graph",
        action=argparse.BooleanOptionalAction,
        help="on a GPU, record a whole step once and replay it: for small models, which wait for Python (default: no)",
    )


def patch_side(asked: int | None, size: int) -> int:
    """The side of a patch in pixels; CourseError if patches do not fill the picture."""
    patch = size // 8 if asked is None else asked
    if patch < 1 or size % patch:
        raise CourseError(f"--patch is {patch}; it must divide the {size} pixels of a side, such as {size // 8}.")
    return patch


def cut_captions(world: Captioned, tokenizer: Tokenizer) -> str:
    """How many captions are longer than what the model reads of them, in a sentence; "" if all are read whole."""
    captions = [caption for captions in world.different().values() for caption in captions]
    cut = [c for c in captions if len(c.encode("utf-8", "replace")) >= TOKENS and len(tokenizer.encode(c)) > TOKENS]
    if not cut:
        return ""
    unread = tokenizer.decode(tokenizer.encode(cut[0])[TOKENS:])
    return (
        f"captions cut: {len(cut)} of {len(captions)} different ones are longer than the {TOKENS} tokens that the model reads; "
        f"of the first, “{unread if len(unread) <= 60 else unread[:59] + '…'}” at its end is not read. Shorten them."
    )


def recipe(args: argparse.Namespace) -> Recipe:
    """The generator of a world."""
    latents = args.space == "latents"
    world = sources.open_training(args)
    size, title = sources.size(args), sources.title(args)
    about = sources.about(world, size, captions=True)
    # a generator that goes on draws in the latents that it knows: those of the autoencoder inside its weights
    net = load_autoencoder(args.init or f"autoencoder-{title}") if latents else None
    if args.init:  # what the weights were trained with
        start = load_weights(args.init, "flow").card
        if start["space"] != args.space:
            raise CourseError(f"The weights {args.init!r} work in {start['space']}; add --space {start['space']}.")
        tokenizer, config = Tokenizer(start["tokenizer"]), config_from(DiTConfig, start["config"])
    else:
        tokenizer = sources.tokenizer(world)
        config = DiTConfig(**PRESETS[args.preset])
        text = dataclasses.replace(config.text, vocabulary=len(tokenizer), longest=TOKENS)
        if net is not None:
            config = dataclasses.replace(config, text=text, channels=net.config.latent_channels, size=size // 4)
        else:
            patch = patch_side(args.patch, size)
            config = dataclasses.replace(config, text=text, channels=3, size=size, patch=patch, predict="data")
            if args.preset == "small":
                config = dataclasses.replace(config, width=192, heads=6)
    if message := cut_captions(world, tokenizer):
        print(message)
    store = Store(world, kept(args), size=size, encoder=net, tokenizer=tokenizer, longest=TOKENS)

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = store(position, n, generator)
        return {**batch, "tokens": drop_captions(batch["tokens"], DROP_CAPTION, generator)}

    torch.manual_seed(0)
    card: dict[str, Any] = {
        "kind": "flow",
        "world": args.world,
        "split": args.split,
        "config": dataclasses.asdict(config),
        "space": args.space,
        "tokenizer": tokenizer.merges,
        "words": world.words(),
        "sampler": {"steps": 16, "guidance": 3.0, "solver": "euler"},
    }
    schedule = TrainConfig(
        images=profile.pick(ci=1_000, laptop=1_000_000, gpu=8_000_000),
        batch_size=profile.pick(ci=32, laptop=64, gpu=256),
        learning_rate=profile.pick(ci=1e-3, laptop=1.5e-3, gpu=1.5e-3),
        warmup_images=profile.pick(ci=100, laptop=12_800, gpu=100_000),
        decay_fraction=0.5,
        ema_half_life_images=profile.pick(ci=1_000, laptop=20_000, gpu=200_000),
        log_every_images=profile.pick(ci=100, laptop=6_400, gpu=51_200),
        compile=profile.pick(ci=False, laptop=False, gpu=True),
    )
    fixed, built_on = {}, []
    if net is not None:
        card["autoencoder"] = dataclasses.asdict(net.config)
        fixed["autoencoder"] = net.state_dict()
        built_on.append(f"autoencoder-{title}")
    name = f"flow-{title}" + ("" if args.preset == "small" else f"-{args.preset}") + ("" if latents else "-pixels")
    return Recipe(
        name,
        "flow",
        DiT(config),
        flow_loss,
        batches,
        schedule,
        card,
        fixed=fixed,
        data=f"{about}, {store.n:,} of them with {store.rows:,} captions",
        built_on=built_on,
        callbacks=[Waiting(store)],
        world=world,
    )
