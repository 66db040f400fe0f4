"""One form for all worlds: pictures by number, what can be said of each, fixed splits.

`world` opens one by name. A world is a module with a function, named in WORLDS and imported only when it is asked for:

    def open_world(name: str, split: str, **options) -> Captioned
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.counters import Dice
from course_utils.language.words import split_words

Captions = dict[str, list[str]]  # language → what can be said in it, the plainest first

WORLDS: dict[str, tuple[str, tuple[str, ...]]] = {  # name: (module, the options it takes)
    "shapes": ("shapes", ()),
    "digits": ("digits", ()),
    "mnist": ("classics", ("path",)),
    "fashion_mnist": ("classics", ("path",)),
    "cifar10": ("classics", ("path",)),
    "celeba": ("celeba", ("path", "size")),
    "emoji": ("emoji", ()),
    "emoji_scenes": ("emoji_scenes", ("size",)),
    "folder": ("folder", ("path", "size")),
}


LEAST = 20  # pictures in a part for testing: from fewer a Fréchet distance tells next to nothing (see `evaluate`)


@dataclass(frozen=True)
class Captioned:
    """A split of a world: `n` pictures, numbered from 0, with captions and perhaps labels.

    read: numbers (B,) int64 → pictures (B, C, H, W) float32 in [0, 1]; captions: number → all that can be said of that
    picture, by language ("en", "zh"); labels: (N,) int64, (N, 40) for `celeba`, or None. report: for `folder`, what
    was found and what was left out and why, in one line to be read before anything is made of it; else "".
    """

    name: str
    split: str
    n: int
    read: Callable[[Tensor], Tensor]
    captions: Callable[[int], Captions]
    labels: Tensor | None = None
    report: str = ""
    endless: ClassVar[bool] = False  # pictures are made when they are asked for, and there is no last one
    draws_on_device: ClassVar[bool] = False  # `read` makes pictures on the device where the numbers lie

    def __len__(self) -> int:
        return self.n

    def images(self, index: int | slice | Sequence[int] | Tensor = slice(None)) -> Tensor:
        """The pictures (B, C, H, W), float32 in [0, 1], that `index` (slice, list, mask, …) would choose from a tensor.

        One number gives one picture (C, H, W). Pictures are decoded or turned into floats here, so ask for a batch at a
        time: all of CIFAR-10 are 600 MB, all of CelebA 10 GB. Raises IndexError for a number that is not there.
        """
        if isinstance(index, slice):
            numbers = torch.arange(*index.indices(self.n))
        else:
            numbers = torch.as_tensor(index)
            if numbers.dtype == torch.bool:
                numbers = torch.arange(self.n)[numbers]
            numbers = numbers.long()  # an empty list has no type
            if len(wrong := numbers[(numbers < -self.n) | (numbers >= self.n)].reshape(-1)):
                raise IndexError(f"There is no picture {int(wrong[0])} in {self.name}, which has {self.n}.")
            numbers = numbers % self.n
        images = self.read(numbers.reshape(-1))
        return images if numbers.ndim else images[0]

    def caption(self, i: int, seed: int | None = None, language: str | None = None) -> str:
        """A caption of picture `i`: the plainest (seed None), or the one that (seed, i) chooses on every machine.

        language: "en" or "zh"; None takes the first that there is (seed None) or lets the seed choose. Raises
        CourseError if there is no caption in that language, IndexError if there is no picture `i`.
        """
        i = range(self.n)[i]
        captions = self.captions(i)
        if language is not None and language not in captions:
            raise CourseError(
                f"Picture {i} of the world {self.name} has no caption in language {language!r}; "
                f"there is {', '.join(captions)}."
            )
        if seed is None:
            return captions[language or next(iter(captions))][0]
        dice = Dice(seed, salt=i)
        return dice.pick(captions[language or dice.pick(list(captions))])

    def said(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[str]:
        """A caption of each of these pictures, chosen by its seed, as generators are trained on."""
        return [self.caption(i, seed) for i, seed in zip(numbers, seeds, strict=True)]

    def different(self) -> dict[str, list[str]]:
        """Every different caption, by language; none of an endless world."""
        found: dict[str, dict[str, None]] = {}
        for i in range(0 if self.endless else self.n):
            for language, captions in self.captions(i).items():
                found.setdefault(language, {}).update(dict.fromkeys(captions))
        return {language: list(captions) for language, captions in found.items()}

    def words(self) -> dict[str, list[str]]:
        """All words of the captions by language: English words and symbols, and single Chinese characters."""
        return {
            language: sorted({word for caption in captions for word in split_words(caption)})
            for language, captions in self.different().items()
        }


def world(name: str, split: str = "train", *, path: str | Path | None = None, size: int | None = None) -> Captioned:
    """Opens a world by name: shapes, digits, mnist, fashion_mnist, cifar10, celeba, emoji, emoji_scenes or folder.

    split: "train", "test" or "all"; `celeba` has "valid" too, the endless `shapes` and `emoji_scenes` "train", "validation" and "test". path: the folder of the pictures, needed for `folder`;
    for mnist, fashion_mnist, cifar10 and celeba the folder that holds torchvision's layout, if it is neither
    COURSE_DATA nor `data` below COURSE_HOME. size: side of the pictures in pixels, for `celeba`, `emoji_scenes` (64 or 32) and `folder`
    (default 64). Raises CourseError for another name or split, for an option that the world does not take, and if pictures are
    missing.
    """
    if name not in WORLDS:
        raise CourseError(f"There is no world {name!r} to open; choose one of {', '.join(WORLDS)}.")
    module, takes = WORLDS[name]
    options = {key: value for key, value in (("path", path), ("size", size)) if value is not None}
    for key in options:
        if key not in takes:
            others = ", ".join(other for other, (_, more) in WORLDS.items() if key in more)
            raise CourseError(f"The world {name} takes no {key}; leave it out, or open one of {others}.")
    return importlib.import_module(f"course_utils.worlds.{module}").open_world(name, split, **options)


def check_split(name: str, split: str, splits: Sequence[str] = ("train", "test", "all")) -> None:
    """Raises CourseError if a world has no such split."""
    if split not in splits:
        raise CourseError(f"The world {name} has no split {split!r}; choose one of {', '.join(splits)}.")
