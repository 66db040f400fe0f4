"""Picture files of any kind, decoded to squares of one size."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from course_utils.common import CourseError

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)  # what Pillow raises


def read_square(path: Path, size: int, side: int | None = None) -> Tensor:
    """The middle of a picture file, a square of `side` pixels (None: as large as fits), as (3, size, size) uint8.

    Turned as its EXIF data say; transparent parts become white; 16-bit greys lose their lower bits; of an animation
    the first picture. Raises CourseError that names the file if it is missing or cannot be decoded.
    """
    try:
        with Image.open(path) as file:
            if side is None:
                file.draft("RGB", (2 * size, 2 * size))  # large JPEGs are decoded at a fraction of their size
            image = _rgb(ImageOps.exif_transpose(file))
    except BROKEN as error:
        raise CourseError(
            f"The picture {path} cannot be read ({error}); repair it, or take it out of the folder."
        ) from error
    if side is not None:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def read_squares(paths: Sequence[Path], size: int, side: int | None = None) -> Tensor:
    """The same of several files: (N, 3, size, size) uint8, N may be 0."""
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    for image, path in zip(images, paths, strict=True):
        image.copy_(read_square(path, size, side))
    return images


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which convert() would cut off at 255
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def check_size(size: int) -> None:
    """Raises CourseError if pictures cannot have this side in pixels."""
    if not 1 <= size <= 1024:
        raise CourseError(f"Pictures of {size} pixels are not to be had; choose a size from 1 to 1024, 64 for example.")
