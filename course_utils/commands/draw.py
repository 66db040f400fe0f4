"""`python -m course_utils draw "…"`: a prompt becomes a picture file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from course_utils.common import CourseError, typed_path

EXAMPLES = """examples:
  python -m course_utils draw "a small red circle above a large blue square" --out circle.png
  python -m course_utils draw "一个红色的小圆在蓝色大方块的上面" --seed 3 --n 4 --out circles.png
  python -m course_utils draw --model flow-emoji "a cat under a tree at night" --out cat.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `draw`."""
    parser.epilog = EXAMPLES
    parser.add_argument("prompt", nargs="+", help="what to draw, each prompt in quotes")
    parser.add_argument(
        "--out", type=typed_path, default=Path("picture.png"), help="the file to write (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        "--name",
        dest="name",
        default="flow-shapes",
        help="weights: flow-shapes, flow-emoji, or a folder (default: %(default)s)",
    )
    parser.add_argument("--n", type=int, default=1, help="pictures for each prompt")
    parser.add_argument("--steps", type=int, help="steps of the sampler (default: the card's)")
    parser.add_argument("--guidance", type=float, help="1 is none, 0 ignores the words (default: the card's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=int, default=8, help="enlarge each pixel so many times (default: %(default)s)")
    parser.add_argument("--device", help='"cpu" or "cuda" (default: cuda if there is one)')
    parser.add_argument("--any-words", action="store_true", help="draw even if a word is unknown, with a warning")
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")


def main(args: argparse.Namespace) -> None:
    """Draws and writes the file."""
    from course_utils.generators import load

    if not 1 <= args.scale <= 64:
        raise CourseError(f"--scale is {args.scale}; it must lie between 1 and 64.")
    generator = load(args.name, args.device)
    pictures = generator(
        args.prompt, steps=args.steps, guidance=args.guidance, seed=args.seed, n=args.n, strict=not args.any_words
    )
    for warning in pictures.warnings:
        print("warning:", warning, file=sys.stderr)
    pictures.save(args.out, scale=args.scale)
    if args.json:
        found = {"out": str(args.out), "pictures": len(pictures.images), "seconds": round(pictures.seconds, 4)}
        print(
            json.dumps(
                {**found, "evaluations": pictures.evaluations, "warnings": pictures.warnings}, ensure_ascii=False
            )
        )
    else:
        print(f"wrote {args.out} ({len(pictures.images)} picture(s), {pictures.seconds:.2f} s)")
