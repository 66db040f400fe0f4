"""The classics `mnist`, `fashion_mnist` and `cifar10`, as torchvision stores and reads them; `download` fetches them.

They lie in the folder that COURSE_DATA names or in `data` below COURSE_HOME. Opening them downloads nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import tarfile
import zlib
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets

from course_utils.common import CourseError, atomic_path, course_home
from course_utils.worlds.captioned import Captioned, check_split
from course_utils.worlds.class_captions import of_classes
from course_utils.worlds.digits import Labelled
from course_utils.worlds.fetch import fetch, find

IDX: dict[str, type[datasets.MNIST]] = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}
CIFAR = datasets.CIFAR10

# ------------------------------------------------------------------------------------------------------------- reading


def mnist(split: str = "train", n: int | None = None) -> Labelled:
    """The first `n` (default: all) of MNIST's pictures of a split, (N, 1, 28, 28) in [0, 1], and their labels.

    split: "train" (60,000), "test" (10,000) or "all". Raises CourseError, with the remedy, if there is no such split,
    or if the files are missing or damaged.
    """
    images, labels = stored("mnist", split)
    return Labelled(images[:n].float() / 255, labels[:n])


def open_world(name: str, split: str, path: str | Path | None = None) -> Captioned:
    """`mnist` or `fashion_mnist`, pictures (1, 28, 28), or `cifar10`, (3, 32, 32); 10,000 of each are for testing.

    There are 60,000 for training, of cifar10 50,000. They are kept as bytes. Raises CourseError as `mnist` does.
    """
    images, labels = stored(name, split, path)
    return of_classes(name, split, lambda numbers: images[numbers].float() / 255, labels)


def stored(name: str, split: str, path: str | Path | None = None) -> tuple[Tensor, Tensor]:
    """Pictures (N, C, H, W) uint8 and labels (N,) int64 of a split of a classic, below `path` or where `find` looks.

    IDX files may be plain or .gz; the latter are unpacked once, below COURSE_HOME. CIFAR's pickles are unpickled by
    torchvision after it has compared their checksums with its own list, so no other code can hide in them.
    """
    check_split(name, split)
    folder = _folder(name)
    root = find(name, folder, path)
    if name in IDX:
        root = _unpacked(name, root)
    parts = [True, False] if split == "all" else [split == "train"]
    try:
        found = [IDX.get(name, CIFAR)(str(root), train=train) for train in parts]
    except (RuntimeError, ValueError, TypeError, KeyError, OSError, EOFError, AssertionError) as error:
        raise CourseError(
            f"The files of {name} in {root / folder} cannot be read ({error}); remove them and run "
            f"`python -m course_utils fetch {name}`, or put the original files there again."
        ) from error
    images = torch.cat([torch.as_tensor(part.data) for part in found])
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return images, torch.cat([torch.as_tensor(part.targets) for part in found]).long()


def _folder(name: str) -> str:
    """Where torchvision keeps a classic, below its root."""
    return f"{IDX[name].__name__}/raw" if name in IDX else CIFAR.base_folder


def _unpacked(name: str, root: Path) -> Path:
    """A folder in which the four IDX files lie unpacked: `root`, or one below COURSE_HOME."""
    folder = _folder(name)
    packed = [root / folder / file for file, _ in IDX[name].resources]
    if all(path.with_suffix("").is_file() for path in packed):
        return root
    cache = course_home() / "classics" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    for path in packed:
        source = plain if (plain := path.with_suffix("")).is_file() else path
        if not source.is_file():
            raise CourseError(
                f"{root} has no {folder}/{plain.name} and no .gz of it; run `python -m course_utils fetch {name}`, "
                f"or put the four original files of {name} there."
            )
        target = cache / folder / plain.name
        if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
            _unpack(source, target)
    return cache


def _unpack(source: Path, target: Path) -> None:
    """Writes `source`, without its gzip if it is a .gz, to `target`, whole or not at all."""
    with atomic_path(target) as part:
        try:
            with gzip.open(source) if source.suffix == ".gz" else source.open("rb") as packed, part.open("wb") as file:
                shutil.copyfileobj(packed, file)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CourseError(f"{source} cannot be unpacked ({error}); remove it and fetch it again.") from error


# ------------------------------------------------------------------------------------------------------------ fetching


def download(name: str, root: Path, mirror: str | None = None) -> Path:
    """Fetches a classic into torchvision's layout below `root` and unpacks it; returns the folder of its files.

    Addresses and checksums are torchvision's; mirror: another server's folder with the same files. What is there and
    can be read is not fetched. Raises CourseError as `fetch` does.
    """
    folder = root / _folder(name)
    with contextlib.suppress(CourseError):  # missing or damaged: that is what we are here for
        stored(name, "all", root)
        for packed in folder.glob("*.gz") if name in IDX else ():
            if not packed.with_suffix("").is_file():
                _unpack(packed, packed.with_suffix(""))
        return folder
    if name in IDX:
        kind = IDX[name]
        for file, md5 in kind.resources:
            packed = fetch(file, folder / file, mirrors=[mirror] if mirror else kind.mirrors, checksum=md5)
            _unpack(packed, packed.with_suffix(""))
    else:
        mirrors = [mirror or CIFAR.url.removesuffix(CIFAR.filename)]
        _unpack_cifar(fetch(CIFAR.filename, root / CIFAR.filename, mirrors=mirrors, checksum=CIFAR.tgz_md5), folder)
    stored(name, "all", root)
    return folder


def _unpack_cifar(archive: Path, folder: Path) -> None:
    """Takes the files that torchvision reads, and no others, out of CIFAR's archive."""
    names = [name for name, _ in CIFAR.train_list + CIFAR.test_list] + [CIFAR.meta["filename"]]
    try:
        with tarfile.open(archive) as tar:
            for name in names:
                source = tar.extractfile(f"{CIFAR.base_folder}/{name}")
                assert source is not None, f"{name} is a folder"
                with atomic_path(folder / name) as part, part.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (tarfile.TarError, KeyError, EOFError, AssertionError, zlib.error) as error:
        raise CourseError(f"{archive} cannot be unpacked ({error}); remove it and fetch it again.") from error
