"""The world `digits`: 1,797 real handwritten digits, 8x8, in 17 grey levels, that come inside scikit-learn.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI repository).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.extras import need
from course_utils.worlds.captioned import Captioned
from course_utils.worlds.class_captions import of_classes

EVERY = 5  # every fifth picture is kept for testing


class Labelled(NamedTuple):
    """Pictures (N, C, H, W) float32 in [0, 1], ink is 1, and what they show, (N,) int64."""

    images: Tensor
    labels: Tensor


def digits(split: str = "train") -> Labelled:
    """The pictures (N, 1, 8, 8) of a split with their labels 0 to 9: "train" (1,438), "test" (359) or "all" (1,797).

    The split never changes: picture number n of scikit-learn's order is for testing if n leaves 4 when divided by 5. The same
    few people wrote both parts. Raises CourseError for another split, and if scikit-learn is missing.
    """
    if split not in ("train", "test", "all"):
        raise CourseError(f'The digits have no split {split!r}; choose "train", "test" or "all".')
    data = need("", "sklearn.datasets").load_digits()
    images = torch.from_numpy(data.images / 16).float()[:, None]  # (N, 1, 8, 8); grey levels 0 to 16
    labels = torch.from_numpy(data.target).long()
    testing = torch.arange(len(images)) % EVERY == EVERY - 1
    chosen = torch.ones_like(testing) if split == "all" else testing if split == "test" else ~testing
    return Labelled(images[chosen], labels[chosen])


def open_world(name: str, split: str) -> Captioned:
    """The digits of a split with captions: "the digit seven", "手写的七"."""
    images, labels = digits(split)
    return of_classes(name, split, lambda numbers: images[numbers], labels)
