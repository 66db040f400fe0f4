"""The pictures and captions that generators are trained on, whatever the world: an endless row, each image a function of its number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from course_utils.worlds.scenes import SEEDS


class Source(ABC):
    """`n` pictures of a world's training split with captions; `about` says which, in a few words."""

    n: int
    about: str

    @abstractmethod
    def images(self, which: NDArray[np.int64], device: torch.device) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1]."""

    @abstractmethod
    def caption(self, i: int, seed: int) -> str:
        """One of the captions of picture i, chosen by the seed."""

    def things(self, which: NDArray[np.int64], side: int) -> Tensor | None:
        """What each of side² patches shows, (B, side², labels): indices as the world names them, -1 for no thing; None if unknown."""
        return None

    @abstractmethod
    def words(self) -> dict[str, list[str]]:
        """All words of the captions by language, for the card: a generator says which words it was never told."""

    def tokenizer(self, captions: int = 20_000) -> Any:
        """A tokenizer of 768 tokens learned from the captions."""
        from course_utils.language.tokenizer import Tokenizer

        return Tokenizer.train(self.caption(i % self.n, i) for i in range(captions))

    def row(self, position: int, n: int) -> NDArray[np.int64]:
        """Which pictures have the numbers position, position + 1, ... in the endless row."""
        return np.arange(position, position + n) % self.n


class ShapesSource(Source):
    """Scenes of the world `shapes`, drawn when they are asked for.

    easy: so many images show single things, as many again one or two, and then come all: where a thing belongs is learned
    far sooner from one at a time. None: all from the start.
    """

    def __init__(self, n: int, easy: int | None = None, seed: int = SEEDS["flow"]):
        from course_utils.worlds.scenes import scenes

        self.n, self.easy, self.about = n, easy, f"{n} scenes"
        self.scenes = scenes(seed, 0, n, split="train")

    def images(self, which: NDArray[np.int64], device: torch.device) -> Tensor:
        from course_utils.worlds.render import render

        return render(self.scenes.select(which), device=device) * 2 - 1

    def caption(self, i: int, seed: int) -> str:
        from course_utils.worlds.captions import training_caption

        return training_caption(self.scenes.scenes[i], seed)

    def things(self, which: NDArray[np.int64], side: int) -> Tensor:
        """Size, fill, colour and shape of what each patch shows."""
        from course_utils.worlds.questions import shown

        return torch.from_numpy(shown(self.scenes.select(which), side))

    def words(self) -> dict[str, list[str]]:
        from course_utils.worlds.captions import word_list

        return {language: list(words) for language, words in word_list().items()}

    def row(self, position: int, n: int) -> NDArray[np.int64]:
        if self.easy is None:
            return super().row(position, n)
        known = np.flatnonzero(self.scenes.count <= 1 + position // self.easy)
        return known[np.arange(position, position + n) % len(known)]


class RealSource(Source):
    """A world of real pictures (worlds/captioned.py), in colour and `size` pixels wide."""

    def __init__(self, name: str, path: Path | None, size: int = 32):
        from course_utils.worlds.captioned import WORLDS, world

        sized = size if "size" in WORLDS[name][1] else None
        self.world, self.size = world(name, "train", path=path, size=sized), size
        self.n = len(self.world)
        self.about = f"{self.n} pictures of {name}"

    def images(self, which: NDArray[np.int64], device: torch.device) -> Tensor:
        found = self.world.images(torch.from_numpy(which)).to(device)
        if found.shape[-1] != self.size:
            found = F.interpolate(found, (self.size, self.size), mode="bilinear", antialias=True)
        return found.expand(-1, 3, -1, -1) * 2 - 1

    def caption(self, i: int, seed: int) -> str:
        return self.world.caption(i, seed)

    def words(self) -> dict[str, list[str]]:
        """English words, and single Chinese characters."""
        from course_utils.worlds.vocabulary import split_words

        found: dict[str, set[str]] = {}
        for i in range(self.n):
            for language, captions in self.world.captions(i).items():
                for caption in captions:
                    words, _ = split_words(caption, language, frozenset(caption))
                    found.setdefault(language, set()).update(words)
        return {language: sorted(words) for language, words in found.items()}


class Encoded:
    """A source's pictures as latents, all encoded once when the first are asked for; without autoencoder, as they are."""

    def __init__(self, source: Source, autoencoder: nn.Module | None):
        self.source, self.autoencoder = source, autoencoder
        self.latents: Tensor | None = None

    def __call__(self, which: NDArray[np.int64], device: torch.device) -> Tensor:
        """Latents or pictures (B, C, S, S)."""
        if self.autoencoder is None:
            return self.source.images(which, device)
        if self.latents is None:
            self.latents = self.encode(device)
        return self.latents[torch.from_numpy(which).to(device)]

    @torch.inference_mode()
    def encode(self, device: torch.device, batch_size: int = 256) -> Tensor:
        """The latents of all pictures."""
        from tqdm.auto import tqdm

        assert self.autoencoder is not None
        net = self.autoencoder.to(device).eval()
        found = []
        for start in tqdm(range(0, self.source.n, batch_size), desc="encoding pictures", unit="batch", leave=False):
            which = np.arange(start, min(start + batch_size, self.source.n))
            found.append(net.encode(self.source.images(which, device)))  # type: ignore[operator]
        return torch.cat(found).clone()
