"""The world `shapes` in the form that all worlds have: endless scenes by number, drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.worlds.captioned import Captioned, Captions, check_split
from course_utils.worlds.captions import caption, training_caption, word_list
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, Scenes, scenes_at

SPLITS = {"train": ("flow", "train"), "validation": ("validation", "all"), "test": ("test", "all")}
WORDINGS = 8  # of a scene that `captions` gives in each language; there are many more


@dataclass(frozen=True)
class Shapes(Captioned):
    """Captions of scenes have no end; `training_caption` makes those that generators are trained on."""

    endless = True

    def said(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[str]:
        found = zip(drawn(self.split, numbers).scenes, seeds, strict=True)
        return [training_caption(scene, seed) for scene, seed in found]

    def words(self) -> dict[str, list[str]]:
        return {language: list(words) for language, words in word_list().items()}


def drawn(split: str, numbers: Sequence[int] | Tensor) -> Scenes:
    """The scenes with these numbers of a split."""
    seed, kind = SPLITS[split]
    return scenes_at(SEEDS[seed], torch.as_tensor(numbers).numpy(), split=kind)


def open_world(name: str, split: str) -> Captioned:
    """Scenes of a split; "train" holds none of the held-out combinations."""
    check_split(name, split, tuple(SPLITS))

    def captions(number: int) -> Captions:
        scene = drawn(split, [number])[0]
        plain = {language: caption(scene, language=language, synonyms="plain") for language in ("en", "zh")}
        return {
            language: [first, *(caption(scene, language=language, seed=k) for k in range(1, WORDINGS))]
            for language, first in plain.items()
        }

    return Shapes(name, split, 1 << 40, lambda numbers: render(drawn(split, numbers)), captions)
