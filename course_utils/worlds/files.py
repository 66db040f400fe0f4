"""Picture files of any kind, decoded to squares of one size."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from course_utils.common import CourseError
from course_utils.worlds.listing import shown, some

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)  # what Pillow raises


@cache
def endings() -> frozenset[str]:
    """The endings, such as ".jpg", of the picture files that Pillow can open here; no videos or documents."""
    Image.init()

    def opens(kind: str) -> bool:
        plugin = Image.OPEN[kind][0] if kind in Image.OPEN else ImageFile.StubImageFile
        is_stub = isinstance(plugin, type) and issubclass(plugin, ImageFile.StubImageFile)  # knows, but cannot decode
        return not is_stub and Image.MIME.get(kind, "image/").startswith("image/")

    return frozenset(ending for ending, kind in Image.registered_extensions().items() if opens(kind))


def read_squares(paths: Sequence[Path], size: int, side: int | None = None) -> Tensor:
    """The middles of picture files, squares of `side` pixels (None: as large as fits), as (N, 3, size, size) uint8.

    Turned as their EXIF data say; transparent parts become white; of an animation the first picture; greys of 16 bits
    lose their lower ones, and floats in [0, 1] or [0, 255] are scaled. N may be 0. Raises CourseError that names the
    files that are missing, cannot be decoded, or hold numbers of which nobody knows which is white.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    broken = []
    for image, path in zip(images, paths, strict=True):
        try:
            image.copy_(torch.from_numpy(np.array(_square(path, size, side))).permute(2, 0, 1))
        except BROKEN as error:
            unknown = isinstance(error, UnidentifiedImageError)
            reason = "no picture that Pillow knows" if unknown else getattr(error, "strerror", None) or error
            broken.append((shown(path, 300), str(reason)))
    if len(broken) == 1:
        raise CourseError(
            "The picture {} cannot be read ({}); repair it, or take it out of the folder.".format(*broken[0])
        )
    if broken:
        named = some([f"{path} ({reason})" for path, reason in broken], 5)
        raise CourseError(
            f"{len(broken)} pictures cannot be read: {named}; repair them, or take them out of the folder."
        )
    return images


def _square(path: Path, size: int, side: int | None) -> Image.Image:
    with Image.open(path) as file:
        if side is None:
            file.draft("RGB", (2 * size, 2 * size))  # large JPEGs are decoded at a fraction of their size
        image = ImageOps.exif_transpose(file)
        image = _grey(image, file.format) if image.mode[0] in "IF" else _rgb(image)
    if side is not None:
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _grey(image: Image.Image, kind: str | None) -> Image.Image:
    """Greys of more than 8 bits, which convert() would cut off at 255. Raises ValueError if their white is not known."""
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        white = 1 if high <= 1 else 255
    elif image.mode.startswith("I;16") or kind in ("PNG", "PPM"):
        white = 65535
    else:
        raise ValueError("greys of 32 bits, whose white is not known; save it with 8 or 16")
    # Scans of 12 bits in 16, or floats that end at 2, would be all but black.
    if not (low >= 0 and high <= white) or 0 < high < white / 16:
        raise ValueError(f"greys from {low:g} to {high:g} where 0 to {white} is expected; scale them")
    return Image.fromarray((values * (255 / white) + 0.5).astype(np.uint8)).convert("RGB")


def check_size(size: int) -> None:
    """Raises CourseError if pictures cannot have this side in pixels."""
    if not 1 <= size <= 1024:
        raise CourseError(f"Pictures of {size} pixels are not to be had; choose a size from 1 to 1024, 64 for example.")
