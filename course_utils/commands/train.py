"""`python -m course_utils train WHAT`: one loop, four things to train. The same command on a CPU and on a GPU."""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.common import CourseError, course_home
from course_utils.training import ProgressBar, State, TensorBoard, TrainConfig, train
from course_utils.weights import config_from, load_weights, read_card, save_weights
from course_utils.worlds.scenes import SEEDS

EXAMPLES = """examples:
  python -m course_utils train autoencoder                      first: pictures to latents and back
  python -m course_utils train decoder                          a deeper decoder for the same latents
  python -m course_utils train judge                            reads scenes from pictures; needs the autoencoder
  python -m course_utils train features                         self-supervised features for fidelity and diversity
  python -m course_utils train flow --images 800_000            the text-to-image model; needs the autoencoder
  python -m course_utils train flow --init flow-shapes          go on from the shipped weights
A run that was stopped or killed goes on where it was when the same command is given again. The trained weights are
written to COURSE_HOME/weights (or --out), with a card that says how they came to be.
"""


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
    built_on: str | None = None  # weights that it needs: their history goes into the card


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.epilog = EXAMPLES
    parser.add_argument("what", choices=sorted(RECIPES), help="what to train")
    parser.add_argument("--world", default="shapes", choices=["shapes"], help="the data (default: %(default)s)")
    parser.add_argument("--images", type=int, help="stop after so many images (default: the recipe's)")
    parser.add_argument("--batch-size", type=int, help="images per step of the optimiser")
    parser.add_argument("--accumulate", type=int, help="compute the batch in so many parts")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", default=None, help="torch.compile the model")
    parser.add_argument("--device", help='"auto", "cpu" or "cuda"')
    parser.add_argument("--seed", type=int)
    parser.add_argument("--space", choices=["latents", "pixels"], default="latents", help="where `flow` works")
    parser.add_argument(
        "--scenes", type=int, default=120_000, help="scenes that `flow` encodes once (default: %(default)s)"
    )
    parser.add_argument(
        "--sharp", action="store_true", help="`judge` sees no round trips: a first stage without autoencoder"
    )
    parser.add_argument("--plain", action="store_true", help="`flow` as a DiT without convolutions")
    parser.add_argument("--init", metavar="NAME", help="start from these weights")
    parser.add_argument("--restart", action="store_true", help="forget the run's checkpoints and start again")
    parser.add_argument("--run", help="name of the run's folder in COURSE_HOME/runs (default: the weights' name)")
    parser.add_argument("--out", type=Path, help="folder for the weights (default: COURSE_HOME/weights/NAME)")


def main(args: argparse.Namespace) -> None:
    """Trains and writes the weights with their card."""
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    recipe = RECIPES[args.what](args)
    try:
        config = dataclasses.replace(recipe.config, **given)
    except TypeError as error:
        raise CourseError(str(error)) from error
    folder = course_home() / "runs" / (args.run or recipe.run or recipe.name)
    init = load_weights(args.init, recipe.kind).part(recipe.kind) if args.init else None
    result = train(
        recipe.model,
        recipe.loss,
        recipe.batches,
        config,
        folder=folder,
        callbacks=[Snapshots(recipe), TensorBoard(), ProgressBar()],
        resume=not args.restart,
        init=init,
        about={"model": json_like(recipe.card["config"]), "data": recipe.data},
    )
    last = result.history[-1]
    card = {
        **recipe.card,
        "command": command(args.what, sys.argv[3:]),
        "training": {k: v for k, v in dataclasses.asdict(config).items() if k not in ("checkpoint_minutes", "keep")},
        "images_seen": last["images"],
        "seconds": round(last["seconds"]),
        "machine": machine(),
        "before": stages(args.init) or stages(recipe.built_on),
        "loss": [{k: line[k] for k in ("images", "seconds", "loss")} for line in thinned(result.history)],
    }
    out = save_weights(args.out or course_home() / "weights" / recipe.name, recipe.parts(result.ema_model), card)
    print(f"wrote {out}")


OPTIONS = ("images", "batch_size", "accumulate", "learning_rate", "precision", "compile", "device", "seed")


class Snapshots:
    """Keeps the averaged weights every 50,000 images, so that their quality can be followed afterwards."""

    every_images = 50_000

    def __init__(self, recipe: Recipe):
        self.recipe = recipe

    def __call__(self, state: State) -> None:
        if self.recipe.kind == "flow" and state.folder is not None:
            card = {**self.recipe.card, "images_seen": state.images, "seconds": round(state.history[-1]["seconds"])}
            save_weights(state.folder / "snapshots" / f"{state.images:09d}", self.recipe.parts(state.ema_model), card)


def command(what: str, options: Sequence[str]) -> str:
    """The command line without what belongs to one machine: where the run and the weights lie."""
    kept, skip = [], False
    for word in options:
        if not skip and word not in ("--out", "--run", "--device", "--restart"):
            kept.append(word)
        skip = word in ("--out", "--run", "--device")
    return " ".join(["python -m course_utils train", what, *kept])


def stages(name: str | None) -> list[dict[str, Any]]:
    """How these weights came to be: the commands, images and seconds of each stage, in order."""
    try:
        card = read_card(name) if name else None
    except CourseError:  # what is built on an autoencoder inside `flow-shapes` has none beside it
        card = None
    if card is None:
        return []
    last = {key: card.get(key) for key in ("command", "images_seen", "seconds")}
    return [*card.get("before", []), last]


def json_like(config: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(config, dict):
        return {k: json_like(v) for k, v in config.items()}
    return [json_like(v) for v in config] if isinstance(config, list | tuple) else config


def machine() -> str:
    """One line on where something was trained or measured."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} CPU thread(s){gpu}, torch {torch.__version__}"


def thinned(history: list[dict[str, Any]], most: int = 60) -> list[dict[str, Any]]:
    """At most about `most` lines of a log, the last among them."""
    step = -(-len(history) // most)
    return history[::-1][::step][::-1]


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

    def batches(position: int, n: int, generator: torch.Generator) -> Tensor:
        images = render(scenes(SEEDS["autoencoder"], position, n), device=generator.device)
        return (images * 2 - 1).contiguous(memory_format=torch.channels_last)

    config = TrainConfig(
        images=100_000,
        batch_size=64,
        learning_rate=2e-3,
        warmup_images=3_200,
        decay_fraction=1.0,
        ema_half_life_images=8_000,
        log_every_images=3_200,
    )
    card = {"kind": "autoencoder", "world": "shapes", "config": dataclasses.asdict(model.config)}
    parts = lambda m: {"autoencoder": m.state_dict()}  # noqa: E731
    return Recipe("autoencoder-shapes", config, model, autoencoder_loss, batches, "autoencoder", parts, card)


def decoder(args: argparse.Namespace) -> Recipe:
    """A deeper decoder for the latents of the trained autoencoder."""
    from course_utils.models.autoencoder import SharperDecoder

    plain = autoencoder(args)
    model = SharperDecoder(round_trip()[0]).to(memory_format=torch.channels_last)  # type: ignore[arg-type]
    config = dataclasses.replace(plain.config, images=140_000, learning_rate=1.5e-3, seed=1)
    card = {**plain.card, "config": dataclasses.asdict(model.config)}
    return dataclasses.replace(
        plain, run="decoder-shapes", config=config, model=model, card=card, built_on="autoencoder-shapes"
    )


def judge(args: argparse.Namespace) -> Recipe:
    """The judge, on scenes and on what is none; with an autoencoder also on what its round trip leaves."""
    from course_utils.measure.judge_data import judge_batches
    from course_utils.models.judge import JudgeNetwork, judge_loss

    torch.manual_seed(0)
    model = JudgeNetwork().to(memory_format=torch.channels_last)
    config = TrainConfig(
        images=320_000,
        batch_size=128,
        learning_rate=3e-3,
        warmup_images=6_400,
        decay_fraction=1.0,
        ema_half_life_images=6_400,
        log_every_images=6_400,
    )
    card = {"kind": "judge", "world": "shapes", "config": dataclasses.asdict(model.config)}
    parts = lambda m: {"judge": m.state_dict()}  # noqa: E731
    batches = judge_batches(SEEDS["judge"], None if args.sharp else round_trip()[1])
    return Recipe("judge", config, model, judge_loss, batches, "judge", parts, card)


def features(args: argparse.Namespace) -> Recipe:
    """Self-supervised features: no label is used."""
    from course_utils.models.features import FeatureNetwork, barlow_twins_loss
    from course_utils.worlds.render import render
    from course_utils.worlds.scenes import scenes

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


def flow(args: argparse.Namespace) -> Recipe:
    """The text-to-image model, in latents or in pixels."""
    from course_utils.language.text_encoder import TextEncoderConfig
    from course_utils.language.tokenizer import Tokenizer
    from course_utils.models.dit import DiT, DiTConfig, flow_loss
    from course_utils.worlds.captions import training_caption
    from course_utils.worlds.vocabulary import word_list

    latents = args.space == "latents"
    if args.init:  # what the weights were trained with
        start = load_weights(args.init, "flow").card
        tokenizer, config = Tokenizer(start["tokenizer"]), config_from(DiTConfig, start["config"])
    else:
        tokenizer = train_tokenizer()
        config = DiTConfig(text=TextEncoderConfig(vocabulary=len(tokenizer)))
        if args.plain or not latents:
            config = dataclasses.replace(config, convolutions=0, depth=6)
        if not latents:
            config = dataclasses.replace(config, channels=3, size=32, patch=4)
    torch.manual_seed(0)
    model = DiT(config).to(memory_format=torch.channels_last)
    card: dict[str, Any] = {
        "kind": "flow",
        "world": "shapes",
        "config": dataclasses.asdict(config),
        "space": args.space,
        "tokenizer": tokenizer.json,
        "words": word_list(),
    }
    parts: Callable[[nn.Module], dict[str, Mapping[str, Tensor]]] = lambda m: {"flow": m.state_dict()}  # noqa: E731
    if latents:
        net, _ = round_trip()
        card["autoencoder"] = dataclasses.asdict(net.config)  # type: ignore[call-overload]
        parts = lambda m: {"flow": m.state_dict(), "autoencoder": net.state_dict()}  # noqa: E731
        data = EncodedScenes(args.scenes, net)
    else:
        data = EncodedScenes(args.scenes, None)

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        which, picture = data(position, n, generator.device)
        captions = [training_caption(scene, position + i) for i, scene in enumerate(which)]
        return {"data": picture, "tokens": tokenizer.batch(captions, config.text.longest)}

    schedule = TrainConfig(
        images=560_000,
        batch_size=64,
        learning_rate=1.2e-3,
        warmup_images=12_800,
        decay_fraction=0.5,
        ema_half_life_images=20_000,
        log_every_images=6_400,
    )
    name = "flow-shapes" if latents else "flow-shapes-pixels"
    built_on = "autoencoder-shapes" if latents else None
    seen = f"{args.scenes} scenes"
    return Recipe(name, schedule, model, flow_loss, batches, "flow", parts, card, data=seen, built_on=built_on)


def train_tokenizer(captions: int = 20_000) -> Any:
    """The tokenizer of the world `shapes`: 768 tokens learned from captions in both languages."""
    from course_utils.language.tokenizer import Tokenizer
    from course_utils.worlds.captions import training_caption
    from course_utils.worlds.scenes import scenes

    batch = scenes(SEEDS["tokenizer"], 0, captions, split="train").scenes
    return Tokenizer.train(training_caption(scene, i) for i, scene in enumerate(batch))


class EncodedScenes:
    """Scenes of the training split as latents, encoded once when first asked for; without autoencoder, pictures in [-1, 1]."""

    def __init__(self, n: int, autoencoder: nn.Module | None):
        self.n, self.autoencoder = n, autoencoder
        self.scenes: Any = None
        self.latents: Tensor | None = None

    def __call__(self, position: int, n: int, device: torch.device) -> tuple[list[Any], Tensor]:
        """Scenes (as words can name them) and latents (n, C, S, S) number position, position + 1, ... in endless rounds."""
        from course_utils.worlds.render import render
        from course_utils.worlds.scenes import scenes

        index = torch.arange(position, position + n) % self.n
        if self.autoencoder is None:
            batch = scenes(SEEDS["flow"], 0, self.n, split="train") if self.scenes is None else self.scenes
            self.scenes = batch
            chosen = batch.select(index.numpy())
            return chosen.scenes, render(chosen, device=device) * 2 - 1
        if self.latents is None:
            self.encode(device)
        assert self.latents is not None
        return self.scenes.select(index.numpy()).scenes, self.latents[index.to(device)]

    @torch.inference_mode()
    def encode(self, device: torch.device, batch_size: int = 256) -> None:
        """Fills `scenes` and `latents`."""
        from tqdm.auto import tqdm

        from course_utils.worlds.render import render
        from course_utils.worlds.scenes import scenes

        assert self.autoencoder is not None
        net = self.autoencoder.to(device).eval()
        self.scenes = scenes(SEEDS["flow"], 0, self.n, split="train")
        found = []
        for start in tqdm(range(0, self.n, batch_size), desc="encoding scenes", unit="batch", leave=False):
            images = render(self.scenes.select(slice(start, start + batch_size)), device=device)
            found.append(net.encode(images * 2 - 1))  # type: ignore[operator]
        self.latents = torch.cat(found).clone()


RECIPES: dict[str, Callable[[argparse.Namespace], Recipe]] = {
    "autoencoder": autoencoder,
    "decoder": decoder,
    "judge": judge,
    "features": features,
    "flow": flow,
}
