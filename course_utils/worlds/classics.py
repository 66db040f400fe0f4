"""The classics, as torchvision stores them, in a folder that the reader has: so far `mnist`.

The environment variable COURSE_DATA names the folder that holds `MNIST/raw`. Nothing is downloaded here.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

from torchvision import datasets

from course_utils.common import CourseError, atomic_path, course_home
from course_utils.worlds.digits import Labelled

VARIABLE = "COURSE_DATA"
FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def mnist(split: str = "train", n: int | None = None) -> Labelled:
    """The first `n` (default: all) of MNIST's 60,000 training or 10,000 test pictures, (N, 1, 28, 28) in [0, 1], and labels.

    Reads the IDX files in `MNIST/raw` of the folder named by COURSE_DATA, plain or as .gz; the latter are unpacked once, below
    COURSE_HOME. Raises CourseError, with the remedy, if the split, the variable or the files are missing or damaged.
    """
    if split not in ("train", "test"):
        raise CourseError(f'MNIST has no split {split!r}; choose "train" or "test".')
    folder = os.environ.get(VARIABLE, "").strip()
    if not folder:
        raise CourseError(
            f"MNIST is not at hand: set the environment variable {VARIABLE} to the folder that holds MNIST/raw and run it again."
        )
    root = _unpacked(Path(folder).expanduser())
    try:
        data = datasets.MNIST(str(root), train=split == "train", download=False)
    except (RuntimeError, ValueError, OSError, EOFError, AssertionError) as error:
        raise CourseError(
            f"The MNIST files in {root / 'MNIST' / 'raw'} cannot be read ({error}); put the four original files there again."
        ) from error
    return Labelled(data.data[:n, None].float() / 255, data.targets[:n].long())


def _unpacked(root: Path) -> Path:
    """A folder with MNIST/raw in which the four files lie unpacked: `root`, or one below COURSE_HOME."""
    raw = root / "MNIST" / "raw"
    if all((raw / name).is_file() for name in FILES):
        return root
    cache = course_home() / "classics"
    for name in FILES:
        plain, packed = raw / name, raw / f"{name}.gz"
        source = plain if plain.is_file() else packed
        if not source.is_file():
            raise CourseError(
                f"{VARIABLE} names {root}, which has no MNIST/raw/{name} and no .gz of it; "
                "put MNIST's four original files there, or let the variable name another folder."
            )
        target = cache / "MNIST" / "raw" / name
        if target.is_file() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        try:
            content = gzip.decompress(source.read_bytes()) if source == packed else source.read_bytes()
        except (OSError, EOFError, zlib.error) as error:
            raise CourseError(f"{source} cannot be unpacked ({error}); fetch it again.") from error
        with atomic_path(target) as part:
            part.write_bytes(content)
    return cache
