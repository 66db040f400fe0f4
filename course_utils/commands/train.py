"""`python -m course_utils train WHAT`: one loop for whatever `recipes` says. The same command on a CPU and on a GPU."""

from __future__ import annotations

import argparse

from course_utils.commands import train_all, train_one

EXAMPLES = """examples:
  python -m course_utils train all                      everything that ships, from nothing, stage by stage
  python -m course_utils train all --minutes 9 --out ours         the same on a GPU, in so many minutes
  python -m course_utils train autoencoder              pictures to latents and back
  python -m course_utils train flow --images 800_000    the text-to-image model in these latents
  python -m course_utils train flow --space pixels      the same without an autoencoder
  python -m course_utils train all --world emoji_scenes --minutes 7 --out out    the large generator and its small sibling
  python -m course_utils train clip --pictures 30_000   pictures and captions as vectors of one space, for search
  torchrun --nproc-per-node 2 -m -- course_utils train flow       shared by two GPUs (or processes)
  python -m course_utils train autoencoder --world folder --path my_pictures     your own pictures: first to latents,
  python -m course_utils train flow --world folder --path my_pictures            then from your words to them
A run that was stopped or killed goes on where it was when the same command is given again. The trained weights are
written to COURSE_HOME/weights (or --out), with a card that says how they came to be.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    parser.epilog = EXAMPLES
    kinds = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    train_one.add_recipes(kinds)
    line = "All that a world needs, from nothing: for shapes features, judge, autoencoder and two generators; for others an autoencoder, a large generator and a small one."
    train_all.add_arguments(kinds.add_parser("all", help=line, description=line, allow_abbrev=False))


def main(args: argparse.Namespace) -> None:
    """Trains and writes the weights with their card."""
    if args.what == "all":
        train_all.train_all(args)
    else:
        train_one.train_one(args, args.argv[2:])
