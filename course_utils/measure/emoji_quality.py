"""How good are the judges of `emoji_scenes`: what they read of scenes that are known, and what they accept of pictures that show none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from course_utils.measure.emoji_data import MALFORMED, NON_SCENES, PIXELS, damage, examples, means, non_scenes
from course_utils.measure.intervals import wilson
from course_utils.measure.judge import Reading
from course_utils.measure.malformed import blur
from course_utils.worlds.emoji_scenes.render import render
from course_utils.worlds.emoji_scenes.scenes import SEEDS, Scene, scenes

COUNTS = {"one_object": 1, "two_objects": 2, "three_objects": 3}
BLURS = (0.6, 1.2, 1.8)  # pixels


class Reader(Protocol):
    """A judge."""

    def read(self, images: Tensor) -> list[Reading]: ...


def _share(right: Sequence[bool]) -> dict[str, Any]:
    return {"share": sum(right) / len(right), "interval": wilson(sum(right), len(right)), "of": len(right)}


def read_right(reader: Reader, images: Tensor, shown: Sequence[Scene]) -> dict[str, Any]:
    """The share of pictures of these scenes that a judge reads exactly right, its interval, and of how many."""
    return _share([reading.shows(scene) for reading, scene in zip(reader.read(images), shown, strict=True)])


def accepted(reader: Reader, images: Tensor) -> dict[str, Any]:
    """The share of pictures that a judge takes for a scene, whichever."""
    return _share([reading.scene is not None for reading in reader.read(images)])


def measure_reader(reader: Reader, n: int, each: int, test: int = SEEDS["test"]) -> dict[str, Any]:
    """n scenes of one, two and three things; `each` of everything else: damaged and blurred scenes, and what is no scene."""
    found: dict[str, Any] = {}
    for name, count in COUNTS.items():
        batch = scenes(test, 50_000_000 + count * 1_000_000, n, things=count)
        found[name] = read_right(reader, render(batch, PIXELS), batch.scenes)
    batch = scenes(test, 60_000_000, each)
    images = render(batch, PIXELS)
    generator = torch.Generator().manual_seed(test)
    found["damaged"] = read_right(reader, damage(images, generator), batch.scenes)
    for sigma in BLURS:
        found[f"blurred_{sigma}"] = read_right(reader, blur(images, torch.full((each,), sigma)), batch.scenes)
    wrong = {kind: examples(kind, test + k, each) for k, kind in enumerate(MALFORMED)}
    wrong |= {kind: non_scenes(kind, test + 17 * k, each) for k, kind in enumerate(NON_SCENES)}
    found["accepted"] = {kind: accepted(reader, pictures) for kind, pictures in wrong.items()}
    found["accepted_means_of_64"] = accepted(reader, means(test, max(1, each // 5)))
    return found
