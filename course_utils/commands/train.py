"""`python -m course_utils train WHAT`: one loop for whatever `recipes` says. The same command on a CPU and on a GPU."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import platform
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_utils.common import CourseError, atomic_path, course_home
from course_utils.recipes import RECIPES, Recipe, module
from course_utils.training import ProgressBar, State, TensorBoard, TrainConfig, train
from course_utils.weights import load_weights, read_card, save_weights
from course_utils.worlds.captioned import WORLDS

EXAMPLES = """examples:
  python -m course_utils train all                      everything that ships, from nothing, stage by stage
  python -m course_utils train all --minutes 9 --out ours         the same on a GPU, in so many minutes
  python -m course_utils train autoencoder              pictures to latents and back
  python -m course_utils train flow --images 800_000    the text-to-image model in these latents
  python -m course_utils train flow --space pixels      the same without an autoencoder
  python -m course_utils train autoencoder --world folder --path my_pictures     your own pictures: first to latents,
  python -m course_utils train flow --world folder --path my_pictures            then from your words to them
A run that was stopped or killed goes on where it was when the same command is given again. The trained weights are
written to COURSE_HOME/weights (or --out), with a card that says how they came to be.
"""

# What `train all` makes, in this order, and its share of --minutes; what is left over is for loading.
ALL = (
    (["features"], 0.04),
    (["judge"], 0.20),
    (["autoencoder"], 0.20),
    (["flow"], 0.24),
    (["flow", "--space", "pixels"], 0.24),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.epilog = EXAMPLES
    recipes = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name in RECIPES:
        line = (module(name).__doc__ or "").splitlines()[0]
        one = recipes.add_parser(name, help=line, description=line)
        add_common(one)
        if hasattr(module(name), "add_arguments"):
            module(name).add_arguments(one)
    line = "Everything that ships, from nothing: features, judge, autoencoder, the generator in latents and the one in pixels."
    everything = recipes.add_parser("all", help=line, description=line)
    everything.add_argument("--minutes", type=float, metavar="M", help="for all of it together, on this machine")
    everything.add_argument("--images", type=int, metavar="N", help="stop each stage after so many, for a trial")
    everything.add_argument(
        "--out",
        type=Path,
        help="folder for a copy of the weights and logs, one folder each (default: only COURSE_HOME)",
    )
    everything.add_argument("--device", help='"auto", "cpu" or "cuda" (default: auto)')


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every recipe understands."""
    parser.add_argument(
        "--world",
        default="shapes",
        choices=["shapes", *WORLDS],
        metavar="WORLD",
        help=f"the pictures and captions: shapes, {', '.join(WORLDS)} (default: %(default)s)",
    )
    parser.add_argument("--path", type=Path, help="folder of the pictures, for a world that has one")
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
    parser.add_argument("--compile", action="store_true", default=None, help="torch.compile the model")
    parser.add_argument("--device", help='"auto", "cpu" or "cuda" (default: auto)')
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise in training (default: 0)")
    parser.add_argument("--restart", action="store_true", help="forget the run's checkpoints and start again")
    parser.add_argument(
        "--run", metavar="NAME", help="the run's folder in COURSE_HOME/runs (default: the weights' name)"
    )
    parser.add_argument("--out", type=Path, help="folder for the weights (default: COURSE_HOME/weights/NAME)")


def main(args: argparse.Namespace) -> None:
    """Trains and writes the weights with their card."""
    if args.what == "all":
        train_all(args)
    else:
        train_one(args, args.argv[2:])


def train_all(args: argparse.Namespace) -> None:
    """Every stage of ALL; a stage that is done already takes no time."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for words, share in ALL:
        given = (("device", args.device), ("images", args.images))
        options = [f"--{name}={value}" for name, value in given if value is not None]
        if args.minutes is not None:
            options.append(f"--minutes={share * args.minutes:.4g}")
        print(f"train {' '.join(words)}")
        weights = train_one(parser.parse_args([*words, *options]), [*words[1:], *options])
        if args.out:
            target = args.out / weights.name
            try:
                shutil.copytree(weights, target, dirs_exist_ok=True)
                shutil.copy(course_home() / "runs" / weights.name / "log.jsonl", target)
            except OSError as error:
                raise CourseError(f"Cannot write {target}: {error.strerror or error}; give another --out.") from error


def train_one(args: argparse.Namespace, words: Sequence[str]) -> Path:
    """Trains by one recipe; `words` are its options, for the card. Returns the folder of the weights."""
    if args.world == "shapes" and args.path is not None:
        raise CourseError("The world shapes has no folder of pictures; leave out --path, or add --world folder.")
    if args.images is not None and args.minutes is not None:
        raise CourseError("--images and --minutes both say when to stop; give one of them.")
    recipe: Recipe = module(args.what).recipe(args)
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    config = dataclasses.replace(recipe.config, **given)
    folder = course_home() / "runs" / (args.run or recipe.name)
    if args.restart:
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
    if args.minutes is not None:
        config = dataclasses.replace(config, images=images_in(args.minutes, recipe, config, folder, args.restart))
    start = getattr(args, "init", None)
    result = train(
        recipe.model,
        recipe.loss,
        recipe.batches,
        config,
        folder=folder,
        callbacks=[*recipe.callbacks, Snapshots(recipe, config.images), TensorBoard(), ProgressBar()],
        resume=not args.restart,
        init=load_weights(start, recipe.kind).part(recipe.kind) if start else None,
        about={"model": json_like(recipe.card["config"]), "data": recipe.data},
    )
    last = result.history[-1]
    card = {
        **recipe.card,
        "command": command(args.what, words),
        "training": {k: v for k, v in dataclasses.asdict(config).items() if k not in ("checkpoint_minutes", "keep")},
        "images_seen": last["images"],
        "seconds": round(last["seconds"]),
        "images_per_second": round(last["images"] / last["seconds"], 1),
        "waiting_for_data": mean([line["waiting"] for line in result.history if "waiting" in line]),
        "machine": machine(),
        "before": stages(start) or [stage for name in recipe.built_on for stage in stages(name)],
        "loss": [{k: line[k] for k in ("images", "seconds", "loss")} for line in thinned(result.history)],
    }
    out = save_weights(args.out or course_home() / "weights" / recipe.name, recipe.parts(result.ema_model), card)
    print(f"wrote {out}")
    return out


OPTIONS = ("images", "batch_size", "accumulate", "learning_rate", "precision", "compile", "device", "seed")


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
    for steps in (4, 32):  # the first warms up
        trial = dataclasses.replace(
            config, images=steps * config.batch_size, log_every_images=steps * config.batch_size
        )
        rate = train(copy.deepcopy(recipe.model), recipe.loss, recipe.batches, trial).history[-1]["images_per_second"]
    images = max(1, int(60 * minutes * rate / config.batch_size)) * config.batch_size
    with atomic_path(path) as part:
        part.write_text(json.dumps({"minutes": minutes, "images": images}), encoding="utf-8")
    print(f"{rate:,.0f} images/s: {images:,} images in {minutes:g} minutes")
    return images


class Snapshots:
    """Keeps the averaged weights of a generator twenty times in a run of so many images, to follow its quality afterwards."""

    def __init__(self, recipe: Recipe, images: int):
        self.recipe = recipe
        self.every_images = max(1, images // 20)

    def __call__(self, state: State) -> None:
        if self.recipe.kind == "flow" and state.folder is not None:
            card = {**self.recipe.card, "images_seen": state.images, "seconds": round(state.history[-1]["seconds"])}
            save_weights(state.folder / "snapshots" / f"{state.images:09d}", self.recipe.parts(state.ema_model), card)


def command(what: str, options: Sequence[str]) -> str:
    """The command line without what belongs to one machine: where the run and the weights lie."""
    kept, skip = [], False
    for word in options:
        if not skip and word.partition("=")[0] not in ("--out", "--run", "--device", "--restart"):
            kept.append(word)
        skip = word in ("--out", "--run", "--device")
    return f"python -m course_utils train {shlex.join([what, *kept])}"


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


def mean(values: Sequence[float]) -> float | None:
    """Their mean with four digits, None if there are none."""
    return round(sum(values) / len(values), 4) if values else None


def thinned(history: list[dict[str, Any]], most: int = 30) -> list[dict[str, Any]]:
    """At most about `most` lines of a log, the last among them."""
    step = -(-len(history) // most)
    return history[::-1][::step][::-1]
