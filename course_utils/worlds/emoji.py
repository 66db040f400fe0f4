"""The world `emoji`: 1,898 real pictures, 64x64, with the names that people gave them in English and Chinese.

Pictures of Noto Color Emoji (SIL OFL 1.1), names from Unicode CLDR; `data/emoji` has the archive, its licences, and the script
that made it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_utils.common import DATA, CourseError
from course_utils.worlds.captioned import Captioned, Captions

ARCHIVE = DATA / "emoji" / "emoji.zip"
EVERY = 10  # every tenth picture is kept for testing
SENTENCES = {
    "en": ("{}", "an emoji: {}", "the emoji {}"),
    "zh": ("{}", "表情符号：{}", "{}的表情符号"),
}


class Emoji(NamedTuple):
    """Cut-outs (N, 4, 64, 64) float32 in [0, 1], red, green, blue and opacity; the sign and its two names of each."""

    cutouts: Tensor
    signs: list[str]
    en: list[str]
    zh: list[str]

    def images(self, background: Sequence[float] = (1.0, 1.0, 1.0)) -> Tensor:
        """The pictures (N, 3, 64, 64) in [0, 1] on a background of one colour, three numbers in [0, 1]."""
        colour, opacity = self.cutouts[:, :3], self.cutouts[:, 3:]
        return torch.lerp(torch.tensor(background, dtype=torch.float32)[:, None, None], colour, opacity)


def emoji(split: str = "all") -> Emoji:
    """The emoji of a split: "train" (nine of ten), "test" (every tenth) or "all".

    Raises CourseError for another split, and if the archive is missing or damaged.
    """
    from PIL import Image  # drawing on a bare GPU machine does without

    if split not in ("train", "test", "all"):
        raise CourseError(f'The emoji have no split {split!r}; choose "train", "test" or "all".')
    try:
        with zipfile.ZipFile(ARCHIVE) as archive:
            names = json.loads(archive.read("names.json"))
            numbers = [n for n in range(len(names)) if split == "all" or (n % EVERY == EVERY - 1) == (split == "test")]
            pictures = [np.asarray(Image.open(io.BytesIO(archive.read(f"{n}.webp"))).convert("RGBA")) for n in numbers]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CourseError(
            f"The emoji in {ARCHIVE.name} cannot be read ({error}); `git checkout -- data/emoji` brings the archive back."
        ) from error
    cutouts = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return Emoji(cutouts.contiguous(), *([names[n][key] for n in numbers] for key in ("sign", "en", "zh")))


def open_world(name: str, split: str) -> Captioned:
    """The emoji of a split on white, (3, 64, 64), with their names as captions: "red heart", "表情符号：红心"."""
    found = emoji(split)

    def read(numbers: Tensor) -> Tensor:
        return found._replace(cutouts=found.cutouts[numbers]).images()

    def captions(i: int) -> Captions:
        names = {"en": found.en[i], "zh": found.zh[i]}
        return {language: [text.format(names[language]) for text in texts] for language, texts in SENTENCES.items()}

    return Captioned(name, split, len(found.signs), read, captions)
