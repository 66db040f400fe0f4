"""What `train` can train: for each thing its model, loss, data and schedule."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.commands.sources import Encoded, RealSource, ShapesSource
from course_utils.common import CourseError
from course_utils.training import TrainConfig
from course_utils.weights import config_from, load_weights
from course_utils.worlds.scenes import COLOURS, FILLS, SEEDS, SHAPES, SIZES

EASY_IMAGES = 64_000  # with which `flow` begins, see ShapesSource


@dataclass(frozen=True)
class Recipe:
    """What `train` needs to know to train one thing: the parts are built only when asked for."""

    name: str  # of the weights, and of the run's folder unless `run` says otherwise
    config: TrainConfig
    model: nn.Module
    loss: Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, Tensor | float]]]
    batches: Callable[[int, int, torch.Generator], Any]
    kind: str  # of the weights, and the name of their trained part
    parts: Callable[[nn.Module], dict[str, Mapping[str, Tensor]]]  # what goes into the weights file
    card: dict[str, Any]
    run: str | None = None
    data: str = ""  # what else makes the data what they are: a run goes on only with the same
    built_on: tuple[str, ...] = ()  # weights that it needs: their histories go into the card


def round_trip(name: str = "autoencoder-shapes") -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The trained autoencoder, and pictures in [0, 1] -> pictures in [0, 1] through it."""
    from course_utils.generators.flow import load_autoencoder

    autoencoder = load_autoencoder(name)

    @torch.inference_mode()
    def through(images: Tensor) -> Tensor:
        autoencoder.to(images.device)
        return (autoencoder(images * 2 - 1) / 2 + 0.5).clamp(0, 1)

    return autoencoder, through


def autoencoder(args: argparse.Namespace) -> Recipe:
    """Pictures to latents and back."""
    from course_utils.models.autoencoder import Autoencoder, autoencoder_loss
    from course_utils.worlds.render import render
    from course_utils.worlds.scenes import scenes

    torch.manual_seed(0)
    model = Autoencoder().to(memory_format=torch.channels_last)
    real = None if args.world == "shapes" else RealSource(args.world, args.path)

    def batches(position: int, n: int, generator: torch.Generator) -> Tensor:
        if real is None:
            images = render(scenes(SEEDS["autoencoder"], position, n), device=generator.device) * 2 - 1
        else:
            images = real.images(real.row(position, n), generator.device)
        return images.contiguous(memory_format=torch.channels_last)

    config = TrainConfig(
        images=100_000,
        batch_size=64,
        learning_rate=2e-3,
        warmup_images=3_200,
        decay_fraction=1.0,
        ema_half_life_images=8_000,
        log_every_images=3_200,
    )
    card = {"kind": "autoencoder", "world": args.world, "config": dataclasses.asdict(model.config)}
    parts = lambda m: {"autoencoder": m.state_dict()}  # noqa: E731
    data = "" if real is None else real.about
    name = f"autoencoder-{args.world}"
    return Recipe(name, config, model, autoencoder_loss, batches, "autoencoder", parts, card, data=data)


def decoder(args: argparse.Namespace) -> Recipe:
    """A deeper decoder for the latents of the trained autoencoder."""
    from course_utils.models.autoencoder import SharperDecoder

    plain = autoencoder(args)
    model = SharperDecoder(round_trip(plain.name)[0]).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    config = dataclasses.replace(plain.config, images=140_000, learning_rate=1.5e-3, seed=1)
    card = {**plain.card, "config": dataclasses.asdict(model.config)}
    return dataclasses.replace(
        plain, run=f"decoder-{args.world}", config=config, model=model, card=card, built_on=(plain.name,)
    )


def judge(args: argparse.Namespace) -> Recipe:
    """The judge, on scenes and on what is none; no other network takes part."""
    from course_utils.measure.judge_data import judge_batches
    from course_utils.models.judge import JudgeNetwork, judge_loss

    only_shapes(args)
    torch.manual_seed(0)
    model = JudgeNetwork().to(memory_format=torch.channels_last)
    config = TrainConfig(
        images=240_000,
        batch_size=64,
        learning_rate=2e-3,
        warmup_images=6_400,
        decay_fraction=1.0,
        ema_half_life_images=6_400,
        log_every_images=6_400,
    )
    card = {"kind": "judge", "world": "shapes", "config": dataclasses.asdict(model.config), "certain": 0.5}
    parts = lambda m: {"judge": m.state_dict()}  # noqa: E731
    return Recipe("judge", config, model, judge_loss, judge_batches(SEEDS["judge"]), "judge", parts, card)


def features(args: argparse.Namespace) -> Recipe:
    """Self-supervised features: no label is used."""
    from course_utils.models.features import FeatureNetwork, barlow_twins_loss
    from course_utils.worlds.render import render
    from course_utils.worlds.scenes import scenes

    only_shapes(args)
    torch.manual_seed(0)
    model = FeatureNetwork().to(memory_format=torch.channels_last)

    def batches(position: int, n: int, generator: torch.Generator) -> Tensor:
        return render(scenes(SEEDS["features"], position, n), device=generator.device)

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
    parts = lambda m: {"features": m.state_dict()}  # noqa: E731
    return Recipe("features", config, model, barlow_twins_loss, batches, "features", parts, card)


def reader(args: argparse.Namespace) -> Recipe:
    """The text encoder of `flow`, asked what captions say."""
    from course_utils.language.text_encoder import TextEncoderConfig
    from course_utils.models.reader import Reader, ReaderConfig, reading_loss
    from course_utils.worlds.captions import parse, training_caption, word_list
    from course_utils.worlds.questions import answers
    from course_utils.worlds.scenes import scenes

    only_shapes(args)
    tokenizer = ShapesSource(20_000, seed=SEEDS["tokenizer"]).tokenizer()
    torch.manual_seed(0)
    model = Reader(ReaderConfig(text=TextEncoderConfig(vocabulary=len(tokenizer))))

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = scenes(SEEDS["reader"], position, n, split="train").scenes
        captions = [training_caption(scene, position + i) for i, scene in enumerate(batch)]
        asked = [answers(parse(caption)) for caption in captions]
        return {"tokens": tokenizer.batch(captions, model.config.text.longest), "answers": torch.tensor(asked)}

    config = TrainConfig(
        images=320_000,  # captions
        batch_size=32,
        learning_rate=1e-3,
        warmup_images=12_800,
        decay_fraction=0.5,
        ema_half_life_images=10_000,
        log_every_images=6_400,
    )
    card = {
        "kind": "reader",
        "world": "shapes",
        "config": dataclasses.asdict(model.config),
        "tokenizer": tokenizer.merges,
        "words": word_list(),
    }
    parts = lambda m: {"reader": m.state_dict()}  # noqa: E731
    return Recipe("reader-shapes", config, model, reading_loss, batches, "reader", parts, card)


def flow(args: argparse.Namespace) -> Recipe:
    """The text-to-image model, in latents or in pixels.

    In the world `shapes` its text encoder has learned to read before and stays as it is; elsewhere it learns with the rest.
    """
    from course_utils.generators.flow import load_reader
    from course_utils.language.text_encoder import TextEncoderConfig
    from course_utils.language.tokenizer import Tokenizer
    from course_utils.models.dit import DiT, DiTConfig, flow_loss

    shapes, latents = args.world == "shapes", args.space == "latents"
    source = (
        ShapesSource(args.scenes, None if args.init else EASY_IMAGES) if shapes else RealSource(args.world, args.path)
    )
    net = round_trip(f"autoencoder-{args.world}")[0] if latents else None
    text = None
    if args.init:  # what the weights were trained with
        start = load_weights(args.init, "flow").card
        tokenizer, config = Tokenizer(start["tokenizer"]), config_from(DiTConfig, start["config"])
    else:
        if shapes:
            tokenizer, text = load_reader()
        else:
            tokenizer = source.tokenizer()
        config = DiTConfig(text=text.config if text else TextEncoderConfig(vocabulary=len(tokenizer)))
        if shapes:
            config = dataclasses.replace(config, labels=(len(SIZES), len(FILLS), len(COLOURS), len(SHAPES)))
        if args.plain or not latents:
            config = dataclasses.replace(config, convolutions=0, depth=6)
        if net is None:
            config = dataclasses.replace(config, channels=3, size=32, patch=4)
        else:
            config = dataclasses.replace(config, channels=net.config.latent_channels)  # type: ignore[union-attr, arg-type]
    torch.manual_seed(0)
    model = DiT(config).to(memory_format=torch.channels_last)
    if text is not None:
        model.text.load_state_dict(text.state_dict())
    model.text.requires_grad_(not shapes)  # who can read already would only forget it over noisy pictures
    card: dict[str, Any] = {
        "kind": "flow",
        "world": args.world,
        "config": dataclasses.asdict(config),
        "space": args.space,
        "tokenizer": tokenizer.merges,
        "words": source.words(),
    }
    parts: Callable[[nn.Module], dict[str, Mapping[str, Tensor]]] = lambda m: {"flow": m.state_dict()}  # noqa: E731
    built_on = ("reader-shapes",) if shapes else ()
    if net is not None:
        card["autoencoder"] = dataclasses.asdict(net.config)  # type: ignore[call-overload]
        parts = lambda m: {"flow": m.state_dict(), "autoencoder": net.state_dict()}  # noqa: E731
        built_on = (f"autoencoder-{args.world}", *built_on)
    data = Encoded(source, net)

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        which = source.row(position, n)
        captions = [source.caption(i, position + k) for k, i in enumerate(which.tolist())]
        batch = {"data": data(which, generator.device), "tokens": tokenizer.batch(captions, config.text.longest)}
        things = source.things(which, config.size // config.patch) if config.labels else None
        return batch if things is None else {**batch, "things": things}

    schedule = TrainConfig(
        images=560_000,
        batch_size=64,
        learning_rate=1.2e-3,
        warmup_images=12_800,
        decay_fraction=0.5,
        ema_half_life_images=20_000,
        log_every_images=6_400,
    )
    name = f"flow-{args.world}" if latents else f"flow-{args.world}-pixels"
    return Recipe(name, schedule, model, flow_loss, batches, "flow", parts, card, data=source.about, built_on=built_on)


def only_shapes(args: argparse.Namespace) -> None:
    """Raises CourseError for what exists in one world only."""
    if args.world != "shapes":
        raise CourseError(f"`{args.what}` is trained in the world shapes only; leave out --world {args.world}.")


RECIPES: dict[str, Callable[[argparse.Namespace], Recipe]] = {
    "autoencoder": autoencoder,
    "decoder": decoder,
    "judge": judge,
    "features": features,
    "reader": reader,
    "flow": flow,
}
