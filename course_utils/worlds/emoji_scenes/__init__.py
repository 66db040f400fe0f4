"""The world `emoji_scenes` in the form that all worlds have: endless scenes of emoji by number, drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.worlds.captioned import Captioned, Captions, check_split
from course_utils.worlds.emoji_scenes.captions import caption, training_caption
from course_utils.worlds.emoji_scenes.render import render
from course_utils.worlds.emoji_scenes.scenes import SEEDS, SPLITS, Scenes, scenes_at
from course_utils.worlds.emoji_scenes.words import word_list

WORDINGS = 8  # of a scene that `captions` gives in each language; there are many more


@dataclass(frozen=True)
class EmojiScenes(Captioned):
    """Captions of scenes have no end; `training_caption` makes those that generators are trained on."""

    endless = True
    draws_on_device = True

    def said(self, numbers: Sequence[int], seeds: Sequence[int]) -> list[str]:
        found = zip(drawn(self.split, numbers).scenes, seeds, strict=True)
        return [training_caption(scene, seed) for scene, seed in found]

    def words(self) -> dict[str, list[str]]:
        return word_list()


def drawn(split: str, numbers: Sequence[int] | Tensor) -> Scenes:
    """The scenes with these numbers of a split."""
    seed, kind, part = SPLITS[split]
    return scenes_at(SEEDS[seed], torch.as_tensor(numbers).cpu().numpy(), split=kind, part=part)


def open_world(name: str, split: str, size: int = 64) -> Captioned:
    """Scenes of a split at 64x64 or 32x32, drawn on the device of the numbers; "train" shows nothing that is held out.

    At 32x32 small things are hard to tell apart, also by eye: for trials. Raises CourseError for another split or size.
    """
    check_split(name, split, tuple(SPLITS))
    if size not in (32, 64):
        raise CourseError(f"The world {name} is drawn at 64 or 32 pixels, not {size}; choose one of them.")

    def captions(number: int) -> Captions:
        scene = drawn(split, [number])[0]
        plain = {language: caption(scene, language=language, synonyms="plain") for language in ("en", "zh")}
        return {
            language: [first, *(caption(scene, language=language, seed=k) for k in range(1, WORDINGS))]
            for language, first in plain.items()
        }

    def read(numbers: Tensor) -> Tensor:
        return render(drawn(split, numbers), size, numbers.device)

    return EmojiScenes(name, split, 1 << 40, read, captions)
