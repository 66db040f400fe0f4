"""`python -m course_utils fetch mnist`: downloads a world that does not ship, in torchvision's layout."""

from __future__ import annotations

import argparse
import json

from course_utils.common import CourseError, typed_path

EXAMPLES = """examples:
  python -m course_utils fetch mnist
  python -m course_utils fetch fashion_mnist cifar10 --to my_data
  python -m course_utils fetch mnist --mirror https://example.org/mnist    another server with the same files
  python -m course_utils fetch celeba    says what to download by hand, and where to put it

An interrupted download goes on where it stopped when it is run again.
"""
WORLDS = ("mnist", "fashion_mnist", "cifar10", "celeba")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fetch`."""
    parser.epilog = EXAMPLES
    parser.add_argument("worlds", nargs="+", choices=WORLDS, metavar="WORLD", help=", ".join(WORLDS))
    parser.add_argument("--mirror", help="address of a folder with the same files, instead of the usual servers")
    parser.add_argument(
        "--to",
        type=typed_path,
        help="the folder to fill (default: COURSE_DATA if it is set, else `data` in COURSE_HOME)",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")


def main(args: argparse.Namespace) -> None:
    """Downloads, unpacks and checks; for CelebA it says what to do by hand unless that is done."""
    from course_utils.worlds import celeba, classics
    from course_utils.worlds.fetch import data_folders

    root = args.to or data_folders()[0]
    found: dict[str, str | None] = {}  # world → its folder, None if the reader has to fetch it
    for name in args.worlds:
        if name != "celeba":
            found[name] = str(classics.download(name, root, args.mirror))
            print(f"{name} is in {found[name]}")
            continue
        try:
            found[name] = str(celeba.checked(root) / "celeba")
            print(f"{name} is in {found[name]}")
        except CourseError as error:
            found[name] = None
            print(error)
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
