"""`train all`: all that ships, stage by stage."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from course_utils.commands.train_one import add_recipes, train_one
from course_utils.common import cannot_write, check_writable, course_home, typed_path

# What `train all` makes, in this order, and its share of --minutes. The autoencoder and the generator in its latents
# together have as long as the generator in pixels, so that the two can be compared.
ALL = (
    (["features"], 0.02),
    (["judge"], 0.16),
    (["autoencoder"], 0.12),
    (["flow"], 0.29),
    (["flow", "--space", "pixels"], 0.41),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train all`."""
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
    """Every stage of ALL; a stage that is done already takes no time."""
    if args.out:
        check_writable(args.out)
    parser = argparse.ArgumentParser()
    add_recipes(parser.add_subparsers(dest="what"))
    for words, share in ALL:
        given = (("device", args.device), ("images", args.images))
        options = [f"--{name}={value}" for name, value in given if value is not None]
        if args.minutes is not None:
            options.append(f"--minutes={share * args.minutes:.4g}")
        print(f"train {' '.join(words)}")
        weights = train_one(parser.parse_args([*words, *options]), [*words[1:], *options])
        if words[0] == "flow" and args.prompts:
            measure_one(weights, args)
        if args.out:
            target = args.out / weights.name
            try:
                shutil.copytree(weights, target, dirs_exist_ok=True)
                shutil.copy(course_home() / "runs" / weights.name / "log.jsonl", target)
            except OSError as error:
                raise cannot_write(target, error) from error


def measure_one(weights: Path, args: argparse.Namespace) -> None:
    """Chooses a generator's guidance, measures it by judge A, and draws a sheet for the eye; all beside the weights."""
    from course_utils.commands import evaluate
    from course_utils.generators import load
    from course_utils.measure.quality import GROUPS, prompts_of
    from course_utils.worlds.scenes import SEEDS

    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)

    def measure(*words: str) -> None:
        typed = [str(weights), *device, *words]
        evaluate.main(parser.parse_args(typed, argparse.Namespace(argv=["evaluate", *typed])))

    device = [f"--device={args.device}"] if args.device not in (None, "auto") else []
    some = max(1, args.prompts // 5)
    measure("--choose", f"--prompts={some}")
    measure(f"--prompts={args.prompts}", "--sample=0", "--update-card", f"--out={weights / 'quality.json'}")
    prompts = [p.text for group in GROUPS for p in prompts_of(group, min(16, some), SEEDS["validation"])]
    load(weights, *(word.partition("=")[2] for word in device))(prompts).save(
        weights / "sheet.png", columns=min(16, len(prompts))
    )
    (weights / "sheet.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
