"""The training pictures of a world and what is said of them: opened, described, and turned into a tokenizer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.language.tokenizer import Tokenizer
from course_utils.recipes.fingerprints import fingerprint
from course_utils.worlds.captioned import WORLDS, Captioned, world

SIZES = (32, 64)  # pixels of a side: what the recipes train on
SIZE = {"emoji_scenes": 64}  # where a world has another than 32


def add_size(parser: argparse.ArgumentParser) -> None:
    """The option --size."""
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        help="pixels of a side of the pictures (default: 32; 64 for emoji_scenes)",
    )


def size(args: argparse.Namespace) -> int:
    """Pixels of a side of the pictures that are trained on."""
    return args.size or SIZE.get(args.world, SIZES[0])


def title(args: argparse.Namespace) -> str:
    """What comes after the dash in the name of weights: the world and, where it is not the world's own, the size."""
    usual = SIZE.get(args.world, SIZES[0])
    return args.world if size(args) == usual else f"{args.world}-{size(args)}"


def opened(name: str, split: str, path: Path | None, size: int) -> Captioned:
    """A split of a world; where the world can draw or cut its pictures in any size, in this one."""
    return world(name, split, path=path, size=size if "size" in WORLDS[name][1] else None)


def open_training(args: argparse.Namespace) -> Captioned:
    """The split of the world that `--world` and `--split` name; says what a folder holds and what is left out."""
    found = opened(args.world, args.split, args.path, size(args))
    if found.report:
        print(found.report)
    return found


def pictures(of: Captioned, numbers: Tensor, size: int) -> Tensor:
    """Pictures in colour, (B, 3, size, size) uint8."""
    found = of.images(numbers)
    if found.shape[-1] != size:
        found = F.interpolate(found, (size, size), mode="bilinear", antialias=True)
    return found.expand(-1, 3, -1, -1).mul(255).round().byte()


def about(of: Captioned, size: int, captions: bool = False) -> str:
    """Which pictures these are, in a few words and a fingerprint; with `captions` also of what is said of them.

    Of more than 100,000 pictures, which are read from files, about 1,000 are looked at.
    """
    if of.endless:
        return f"{size} x {size} pictures of {of.name}, {of.split}"
    rows = torch.arange(0, of.n, 1 if of.n <= 100_000 else of.n // 1_000)
    images = (of.images(part).mul(255).round().byte() for part in rows.split(256))
    found = f"{of.n} pictures of {of.name}, {size} x {size} ({fingerprint(images)})"
    if captions:
        found += f" with captions ({fingerprint(json.dumps(of.captions(i)) for i in rows.tolist())})"
    return found


def tokenizer(of: Captioned, captions: int = 20_000, size: int = 768) -> Tokenizer:
    """A tokenizer of `size` tokens learned from so many captions."""
    return Tokenizer.train(of.said([i % of.n for i in range(captions)], range(captions)), size)
