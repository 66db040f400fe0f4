"""`python -m course_utils train WHAT`: one loop for whatever `recipes` says. The same command on a CPU and on a GPU."""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_utils.commands.recipes import RECIPES, Recipe
from course_utils.common import CourseError, course_home
from course_utils.training import ProgressBar, State, TensorBoard, train
from course_utils.weights import load_weights, read_card, save_weights
from course_utils.worlds.captioned import WORLDS

EXAMPLES = """examples:
  python -m course_utils train autoencoder                      first: pictures to latents and back
  python -m course_utils train decoder                          a deeper decoder for the same latents
  python -m course_utils train judge                            reads scenes from pictures, to measure generators
  python -m course_utils train features                         self-supervised features for fidelity and diversity
  python -m course_utils train reader                           teaches the text encoder to read
  python -m course_utils train flow --images 800_000            the text-to-image model; needs the autoencoder and the reader
  python -m course_utils train flow --init flow-shapes          go on from the shipped weights
  python -m course_utils train autoencoder --world folder --path my_pictures     your own pictures: first to latents,
  python -m course_utils train flow --world folder --path my_pictures            then from your words to them
A run that was stopped or killed goes on where it was when the same command is given again. The trained weights are
written to COURSE_HOME/weights (or --out), with a card that says how they came to be.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.epilog = EXAMPLES
    parser.add_argument("what", choices=sorted(RECIPES), help="what to train")
    parser.add_argument(
        "--world",
        default="shapes",
        choices=["shapes", *WORLDS],
        help="the pictures and captions (default: %(default)s)",
    )
    parser.add_argument("--path", type=Path, help="folder of the pictures, for a world that has one")
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
        "before": stages(args.init) or [stage for name in recipe.built_on for stage in stages(name)],
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


def thinned(history: list[dict[str, Any]], most: int = 30) -> list[dict[str, Any]]:
    """At most about `most` lines of a log, the last among them."""
    step = -(-len(history) // most)
    return history[::-1][::step][::-1]
