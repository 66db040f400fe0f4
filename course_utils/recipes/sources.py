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

SIZE = 32  # pixels: what the recipes train on


def opened(name: str, split: str, path: Path | None) -> Captioned:
    """A split of a world, in the size that recipes train on."""
    return world(name, split, path=path, size=SIZE if "size" in WORLDS[name][1] else None)


def open_training(args: argparse.Namespace) -> Captioned:
    """The training split of the world that `--world` names; says what a folder holds and what is left out."""
    found = opened(args.world, "train", args.path)
    if found.report:
        print(found.report)
    return found


def pictures(of: Captioned, numbers: Tensor) -> Tensor:
    """Pictures in colour, (B, 3, SIZE, SIZE) uint8."""
    found = of.images(numbers)
    if found.shape[-1] != SIZE:
        found = F.interpolate(found, (SIZE, SIZE), mode="bilinear", antialias=True)
    return found.expand(-1, 3, -1, -1).mul(255).round().byte()


def about(of: Captioned, captions: bool = False) -> str:
    """Which pictures these are, in a few words and a fingerprint; with `captions` also of what is said of them.

    Of more than 100,000 pictures, which are read from files, about 1,000 are looked at.
    """
    if of.endless:
        return f"pictures of {of.name}"
    rows = torch.arange(0, of.n, 1 if of.n <= 100_000 else of.n // 1_000)
    images = (of.images(part).mul(255).round().byte() for part in rows.split(256))
    found = f"{of.n} pictures of {of.name} ({fingerprint(images)})"
    if captions:
        found += f" with captions ({fingerprint(json.dumps(of.captions(i)) for i in rows.tolist())})"
    return found


def tokenizer(of: Captioned, captions: int = 20_000, size: int = 768) -> Tokenizer:
    """A tokenizer of `size` tokens learned from so many captions."""
    return Tokenizer.train(of.said([i % of.n for i in range(captions)], range(captions)), size)
