"""`train all`: all that a world needs, stage by stage."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from course_utils import weights as on_disk
from course_utils.commands.train_one import add_recipes, add_world, train_one
from course_utils.commands.watch import has_judge
from course_utils.common import cannot_write, check_writable, course_home, typed_path
from course_utils.measure.worlds import MEASURED, Measured
from course_utils.recipes.sources import add_size
from course_utils.training import distributed

# What `train all` makes, in this order, and its share of --minutes. In `shapes` the autoencoder and the generator in its latents
# together have as long as the generator in pixels, so that the two can be compared.
SHAPES = (
    (["features"], 0.02),
    (["judge"], 0.16),
    (["autoencoder", "--channels", "16"], 0.12),
    (["flow"], 0.29),
    (["flow", "--space", "pixels"], 0.41),
)
# In any other world: the large generator, and a small sibling in eight bits that is quick to load and to draw with; before them what
# measures them, where that is possible and does not ship.
MEASURE = ((["features"], 0.02), (["judge"], 0.1))
OTHERS = (
    (["autoencoder", "--channels", "16"], 0.15),
    (["flow", "--preset", "full", "--learning-rate", "7e-4"], 0.6),
    (["flow", "--format", "int8"], 0.25),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train all`."""
    add_world(parser)
    add_size(parser)
    parser.add_argument("--minutes", type=float, metavar="M", help="for all of it together, on this machine")
    parser.add_argument("--images", type=int, metavar="N", help="stop each stage after so many, for a trial")
    parser.add_argument(
        "--out",
        type=typed_path,
        help="folder for a copy of the weights and logs, one folder each (default: only COURSE_HOME)",
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=500,
        metavar="N",
        help="prompts of each group with which the generators are measured by judge A; 0: not at all (default: %(default)s)",
    )
    parser.add_argument("--device", help='"auto", "cpu" or "cuda" (default: auto)')


def train_all(args: argparse.Namespace) -> None:
    """Every stage of a world; a stage that is done already takes no time. `torchrun` shares each among its processes."""
    if args.out:
        check_writable(args.out)
    parser = argparse.ArgumentParser()
    add_recipes(parser.add_subparsers(dest="what"))
    with distributed.together(args.device or "auto"):
        for words, share in stages(args.world):
            other = None if args.world == "shapes" else args.world
            given = {"world": other, "path": args.path, "size": args.size, "device": args.device, "images": args.images}
            if words[0] in ("features", "judge"):
                given["size"] = None
            options = [f"--{name}={value}" for name, value in given.items() if value is not None]
            if args.minutes is not None:
                options.append(f"--minutes={share * args.minutes:.4g}")
            if distributed.rank() == 0:
                print(f"train {' '.join(words)}")
            weights = train_one(parser.parse_args([*words, *options]), [*words[1:], *options])
            if distributed.rank() == 0:
                finish(weights, args, generator=words[0] == "flow")


def stages(world: str) -> list[tuple[list[str], float]]:
    """What is trained in a world: the words of each command, and its share of the time."""
    if world == "shapes":
        return list(SHAPES)
    needed = [] if world not in MEASURED or ships(MEASURED[world]) else list(MEASURE)
    left = 1 - sum(share for _, share in needed)
    return [*needed, *((words, share * left) for words, share in OTHERS)]


def ships(of: Measured) -> bool:
    """Whether what measures a world is part of the course."""
    return all((on_disk.DATA / "weights" / name / "card.json").is_file() for name in (of.judge, of.features))


def finish(weights: Path, args: argparse.Namespace, generator: bool) -> None:
    """Measures what was trained, if it is a generator, and copies it with its log to where it is wanted."""
    if generator and args.prompts and has_judge(args.world):
        measure_one(weights, args)
    if args.out:
        target, run = args.out / weights.name, course_home() / "runs" / weights.name
        try:
            shutil.copytree(weights, target, dirs_exist_ok=True)
            shutil.copy(run / "log.jsonl", target)
            if (run / "sheets").is_dir():
                shutil.copytree(run / "sheets", target / "sheets", dirs_exist_ok=True)
        except OSError as error:
            raise cannot_write(target, error) from error


def measure_one(weights: Path, args: argparse.Namespace) -> None:
    """Chooses a generator's guidance, measures it by judge A, and draws a sheet for the eye; all beside the weights."""
    from course_utils.commands import evaluate
    from course_utils.generators import load
    from course_utils.measure.quality import groups_of, prompts_of

    of = MEASURED[args.world]
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)

    def measure(*words: str) -> None:
        typed = [str(weights), *device, *words]
        evaluate.main(parser.parse_args(typed, argparse.Namespace(argv=["evaluate", *typed])))

    device = [f"--device={args.device}"] if args.device not in (None, "auto") else []
    some = max(1, args.prompts // 5)
    measure("--choose", f"--prompts={some}")
    measure(f"--prompts={args.prompts}", "--sample=0", "--update-card", f"--out={weights / 'quality.json'}")
    prompts = [p.text for group in groups_of(of) for p in prompts_of(group, min(16, some), of.seeds["validation"], of)]
    load(weights, *(word.partition("=")[2] for word in device))(prompts).save(
        weights / "sheet.png", columns=min(16, len(prompts))
    )
    (weights / "sheet.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
