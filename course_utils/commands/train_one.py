"""`train RECIPE`: trains by one recipe and writes the weights with their card."""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_utils.commands.cards import command, hardware, machine, mean, stages, thinned
from course_utils.commands.watch import Watch
from course_utils.common import CourseError, atomic_path, check_writable, course_home, typed_path
from course_utils.recipes import RECIPES, Recipe, module
from course_utils.recipes.fingerprints import of_weights
from course_utils.training import (
    Callback,
    ProgressBar,
    State,
    TensorBoard,
    TrainConfig,
    WeightsAndBiases,
    distributed,
    train,
)
from course_utils.training.hardware import Hardware
from course_utils.training.lock import alone_in
from course_utils.weights import FORMATS, load_weights, save_weights
from course_utils.worlds.captioned import WORLDS

OPTIONS = ("images", "batch_size", "accumulate", "learning_rate", "precision", "compile", "graph", "device", "seed")

TRIAL = 2.0  # seconds that --minutes takes at least to measure this machine


def add_recipes(kinds: Any) -> None:
    """A parser for each recipe, with its options; none may be shortened, so that a card can tell what was typed."""
    for name in RECIPES:
        line = (module(name).__doc__ or "").splitlines()[0]
        one = kinds.add_parser(name, help=line, description=line, allow_abbrev=False)
        add_common(one)
        if hasattr(module(name), "add_arguments"):
            module(name).add_arguments(one)


def add_world(parser: argparse.ArgumentParser) -> None:
    """The options --world and --path."""
    parser.add_argument(
        "--world",
        default="shapes",
        choices=[*WORLDS],
        metavar="WORLD",
        help=f"the pictures and captions: {', '.join(WORLDS)} (default: %(default)s)",
    )
    parser.add_argument("--path", type=typed_path, help="folder of the pictures, for a world that has one")


def add_split(parser: argparse.ArgumentParser) -> None:
    """The option --split."""
    parser.add_argument(
        "--split", default="train", metavar="NAME", help="the part of the world to train on (default: %(default)s)"
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every recipe understands."""
    add_world(parser)
    add_split(parser)
    parser.add_argument("--images", type=int, metavar="N", help="stop after so many images (default: the recipe's)")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="instead: as many images as this machine computes in so many minutes"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per step of the optimiser")
    parser.add_argument("--accumulate", type=int, metavar="N", help="compute the batch in so many parts: less memory")
    parser.add_argument("--learning-rate", type=float, metavar="R", help="the highest one (default: the recipe's)")
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16"], help="auto: bf16 where the hardware computes in it (default)"
    )
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="torch.compile the model (default: the recipe's)"
    )
    parser.add_argument("--device", help='"auto", "cpu" or "cuda" (default: auto)')
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise in training (default: 0)")
    parser.add_argument("--restart", action="store_true", help="forget the run's checkpoints and start again")
    parser.add_argument(
        "--run", metavar="NAME", help="the run's folder in COURSE_HOME/runs (default: the weights' name)"
    )
    parser.add_argument("--out", type=typed_path, help="folder for the weights (default: COURSE_HOME/weights/NAME)")
    parser.add_argument(
        "--format", choices=[*FORMATS], default="bf16", help="how the weights are written (default: %(default)s)"
    )
    parser.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="also send the log to this project of Weights & Biases, where it is installed",
    )


def train_one(args: argparse.Namespace, words: Sequence[str]) -> Path:
    """Trains by one recipe; `words` are its options, for the card. Returns the folder of the weights.

    Each of the processes that `torchrun` started comes through here; the first alone prints, and writes the weights.
    """
    with distributed.together(args.device or "auto"), contextlib.ExitStack() as stack:
        if distributed.rank() > 0:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        return train_here(args, words)


def train_here(args: argparse.Namespace, words: Sequence[str]) -> Path:
    """What `train_one` does in each process."""
    check(args)
    for place in (course_home(), *([args.out] if args.out else [])):
        check_writable(place)
    recipe: Recipe = module(args.what).recipe(args)
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name, None) is not None}
    config = dataclasses.replace(recipe.config, **given)
    folder = course_home() / "runs" / (args.run or recipe.name)
    first = distributed.rank() == 0
    with alone_in(folder if first else None):
        if args.restart and first:
            shutil.rmtree(folder / "snapshots", ignore_errors=True)
        if args.minutes is not None:
            config = dataclasses.replace(config, images=images_in(args.minutes, recipe, config, folder, args.restart))
    start = getattr(args, "init", None)
    init = load_weights(start).part(recipe.kind) if start else None  # what they must be, the recipe has looked at
    machinery = Hardware(recipe.loss, recipe.batches, config)
    boards: list[Callback] = [TensorBoard(), *([WeightsAndBiases(args.wandb)] if args.wandb else [])]
    result = train(
        recipe.model,
        recipe.loss,
        machinery.batches,
        config,
        folder=folder,
        callbacks=[*recipe.callbacks, machinery, *watching(recipe, config, args), *boards, ProgressBar()],
        resume=not args.restart,
        init=init,
        about={**recipe.identity(), "init": of_weights(init) if init else None},
    )
    last = result.history[-1]
    card = {
        **recipe.card,
        "command": command(args.what, words),
        "data": recipe.data,
        "training": {k: v for k, v in dataclasses.asdict(config).items() if k not in ("checkpoint_minutes", "keep")},
        "images_seen": last["images"],
        "seconds": round(last["seconds"]),
        "images_per_second": round(last["images"] / last["seconds"], 1),
        "waiting_for_data": mean([line["waiting"] for line in result.history if "waiting" in line]),
        **hardware(result.history),
        "machine": machine(),
        "before": stages(start) or [stage for name in recipe.built_on for stage in stages(name)],
        "loss": [{k: line[k] for k in ("images", "seconds", "loss")} for line in thinned(result.history)],
    }
    out = args.out or course_home() / "weights" / recipe.name
    if first:
        save_weights(out, recipe.parts(result.ema_model), card, FORMATS[args.format])
        print(f"wrote {out}")
    distributed.wait_for_all()  # what is trained next may be built on it
    return out


def check(args: argparse.Namespace) -> None:
    """Raises CourseError for options that mean nothing, or not together."""
    if args.path is not None and "path" not in WORLDS[args.world][1]:
        raise CourseError(
            f"The world {args.world} has no folder of pictures; leave out --path, or add --world folder for your own pictures."
        )
    if args.images is not None and args.minutes is not None:
        raise CourseError("--images and --minutes both say when to stop; give one of them.")
    if args.run is not None and (args.run in ("", ".", "..") or Path(args.run).name != args.run):
        raise CourseError(f"--run is {args.run!r}; it must be the name of one folder, without a path.")


def images_in(minutes: float, recipe: Recipe, config: TrainConfig, folder: Path, restart: bool) -> int:
    """So many images this machine trains on in so many minutes, from the speed of a short trial on a copy of the model.

    The number is kept in the run's folder, so that a run that goes on has the same goal. Raises CourseError for no time at all.
    """
    if not 0 < minutes < math.inf:
        raise CourseError(f"--minutes is {minutes:g}; it must be greater than 0.")
    path = folder / "images.json"
    if path.is_file() and not restart:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["minutes"] == minutes:
            return kept["images"]
    model, seconds, half = copy.deepcopy(recipe.model), 0.0, config.batch_size
    while seconds < TRIAL:  # the second half counts: in the first, things warm up
        half *= 8
        trial = dataclasses.replace(config, images=2 * half, log_every_images=half)
        rate = distributed.of_first(train(model, recipe.loss, recipe.batches, trial).history[-1]["images_per_second"])
        seconds = half / rate
    images = max(1, int(60 * minutes * rate / config.batch_size)) * config.batch_size
    if distributed.rank() == 0:
        with atomic_path(path) as part:
            part.write_text(json.dumps({"minutes": minutes, "images": images}), encoding="utf-8")
    print(f"{rate:,.0f} images/s: {images:,} images in {minutes:g} minutes")
    return images


def watching(recipe: Recipe, config: TrainConfig, args: argparse.Namespace) -> list[Callback]:
    """What looks at a generator while it is trained."""
    if recipe.kind != "flow":
        return []
    watch = [Watch(recipe, config.images, args.watch)] if args.watch else []
    return [Snapshots(recipe, config.images), *watch]


class Snapshots:
    """Keeps the averaged weights of a generator twenty times in a run of so many images, to follow its quality afterwards."""

    def __init__(self, recipe: Recipe, images: int):
        self.recipe = recipe
        self.every_images = max(1, images // 20)

    def __call__(self, state: State) -> None:
        if state.folder is not None:
            card = {**self.recipe.card, "images_seen": state.images, "seconds": round(state.history[-1]["seconds"])}
            save_weights(state.folder / "snapshots" / f"{state.images:09d}", self.recipe.parts(state.ema_model), card)
