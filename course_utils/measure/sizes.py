"""Pictures of one size for a reader that knows another: the one place where that happens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from course_utils.common import CourseError


def resized(images: Tensor, side: int) -> Tensor:
    """Pictures (N, 3, P, P) in [0, 1] as (N, 3, side, side): bilinear, and over whole areas where there are fewer pixels then.

    Nothing is added: what 32 pixels do not show, their enlargement does not show either. Raises CourseError for other shapes.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise CourseError(f"These pictures are {tuple(images.shape)}: give (N, 3, P, P), in [0, 1].")
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)
