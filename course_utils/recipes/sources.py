"""The pictures and captions that generators are trained on, whatever the world: an endless row, each image a function of its number."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from course_utils.language.tokenizer import Tokenizer
from course_utils.recipes.fingerprints import fingerprint
from course_utils.training import choose_device
from course_utils.worlds.scenes import SEEDS, Scenes, scenes


class Source(ABC):
    """`n` pictures of a world's training split with captions, repeated without end."""

    n: int

    @abstractmethod
    def about(self, captions: bool) -> str:
        """Which pictures these are, in a few words and a fingerprint; with `captions` also of what is said of them."""

    def prepare(self, position: int, n: int) -> Any:
        """What pictures `position` to `position + n - 1` are made of; computed ahead of time by worker processes."""
        return np.arange(position, position + n) % self.n

    @abstractmethod
    def images(self, prepared: Any, device: torch.device) -> Tensor:
        """The pictures (B, 3, S, S) in [-1, 1], on the device."""

    @abstractmethod
    def captions(self, prepared: Any, position: int) -> list[str]:
        """A caption of each of the pictures that stand at `position` and after it: another one when they come round again."""

    @abstractmethod
    def words(self) -> dict[str, list[str]]:
        """All words of the captions by language, for the card: a generator says which words it was never told."""

    def different(self) -> dict[str, list[str]]:
        """Every different caption, by language; none of a world whose captions have no end."""
        return {}

    def tokenizer(self, captions: int = 20_000, size: int = 768) -> Tokenizer:
        """A tokenizer of `size` tokens learned from the captions."""
        return Tokenizer.train(self.captions(self.prepare(0, captions), 0), size)


@dataclass
class ShapesSource(Source):
    """Scenes of the world `shapes`, drawn when they are asked for."""

    seed: int = SEEDS["flow"]
    n: int = 1 << 40  # without an end

    def about(self, captions: bool) -> str:
        return "scenes of shapes"

    def prepare(self, position: int, n: int) -> Scenes:
        return scenes(self.seed, position, n, split="train")

    def images(self, prepared: Scenes, device: torch.device) -> Tensor:
        from course_utils.worlds.render import render

        return render(prepared, device=device) * 2 - 1

    def captions(self, prepared: Scenes, position: int) -> list[str]:
        from course_utils.worlds.captions import training_caption

        return [training_caption(scene, position + i) for i, scene in enumerate(prepared.scenes)]

    def words(self) -> dict[str, list[str]]:
        from course_utils.worlds.captions import word_list

        return {language: list(words) for language, words in word_list().items()}


class RealSource(Source):
    """A world of real pictures (worlds/captioned.py), in colour and `size` pixels wide."""

    def __init__(self, name: str, path: Path | None, size: int = 32):
        from course_utils.worlds.captioned import WORLDS, world

        sized = size if "size" in WORLDS[name][1] else None
        self.world, self.size = world(name, "train", path=path, size=sized), size
        if self.world.report:
            print(self.world.report)
        self.n = len(self.world)

    def about(self, captions: bool) -> str:
        """Of more than 100,000 pictures, which are read from files, about 1,000 are looked at."""
        total = len(self.world)
        rows = torch.arange(0, total, 1 if total <= 100_000 else total // 1_000)
        images = (self.world.images(part).mul(255).round().byte() for part in rows.split(256))
        found = f"{total} pictures of {self.world.name} ({fingerprint(images)})"
        if captions:
            said = (json.dumps(self.world.captions(i)) for i in rows.tolist())
            found += f" with captions ({fingerprint(said)})"
        return found

    def images(self, prepared: NDArray[np.int64], device: torch.device) -> Tensor:
        found = self.world.images(torch.from_numpy(prepared)).to(device)
        if found.shape[-1] != self.size:
            found = F.interpolate(found, (self.size, self.size), mode="bilinear", antialias=True)
        return found.expand(-1, 3, -1, -1) * 2 - 1

    def captions(self, prepared: NDArray[np.int64], position: int) -> list[str]:
        return [self.world.caption(i, position + k) for k, i in enumerate(prepared.tolist())]

    def words(self) -> dict[str, list[str]]:
        """English words and symbols, and single Chinese characters."""
        from course_utils.language.words import split_words

        return {
            language: sorted({word for caption in captions for word in split_words(caption)})
            for language, captions in self.different().items()
        }

    def different(self) -> dict[str, list[str]]:
        found: dict[str, dict[str, None]] = {}
        for i in range(len(self.world)):
            for language, captions in self.world.captions(i).items():
                found.setdefault(language, {}).update(dict.fromkeys(captions))
        return {language: list(captions) for language, captions in found.items()}


def open_source(world: str, path: Path | None) -> Source:
    """The training pictures of a world by its name."""
    return ShapesSource() if world == "shapes" else RealSource(world, path)


def workers(device: str | None) -> int:
    """How many processes make batches ahead: none beside a CPU, which computes itself; all cores but one beside a GPU."""
    return (os.cpu_count() or 1) - 1 if choose_device(device or "auto").type == "cuda" else 0
