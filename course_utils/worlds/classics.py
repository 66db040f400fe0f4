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
from torchvision.datasets.mnist import read_image_file, read_label_file

from course_utils.common import CourseError, atomic_path, course_home
from course_utils.worlds.captioned import Captioned, check_split
from course_utils.worlds.class_captions import of_classes
from course_utils.worlds.digits import Labelled
from course_utils.worlds.fetch import fetch, find, has_checksum

IDX: dict[str, type[datasets.MNIST]] = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}
CIFAR = datasets.CIFAR10
ORIGINALS = {  # MD5 of the published files, unpacked: torchvision knows those of the packed ones, which hang on the packer
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}

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

    IDX files may be plain or .gz; the latter are unpacked once, below COURSE_HOME. All files of a classic must be there
    and be the published ones, by their checksums, so each picture has its label and its split. CIFAR's pickles are
    unpickled by torchvision after it has compared them with its own list, so no other code can hide in them.
    """
    check_split(name, split)
    folder = _folder(name)
    root = find(name, folder, path)
    parts = [True, False] if split == "all" else [split == "train"]
    try:
        if name in IDX:
            files = {file: _original(name, root, file) for file in ORIGINALS[name]}
            found = [_read_idx(files, "train" if train else "t10k") for train in parts]
        else:
            cifar = [CIFAR(str(root), train=train) for train in parts]
            found = [(torch.as_tensor(part.data).movedim(3, 1), torch.as_tensor(part.targets)) for part in cifar]
    except (RuntimeError, ValueError, TypeError, KeyError, OSError, EOFError, AssertionError) as error:
        raise CourseError(
            f"The files of {name} in {root / folder} cannot be read ({error}); remove them and run "
            f"`python -m course_utils fetch {name}`, or put the original files there again."
        ) from error
    images, labels = (torch.cat(tensors) for tensors in zip(*found, strict=True))
    return images.contiguous(), labels.long()


def _folder(name: str) -> str:
    """Where torchvision keeps a classic, below its root."""
    return f"{IDX[name].__name__}/raw" if name in IDX else CIFAR.base_folder


def _original(name: str, root: Path, file: str) -> Path:
    """The path of one of a classic's IDX files: unpacked below `root`, or else below COURSE_HOME, where it is put now.

    Raises CourseError if it is not there, or is another file under its name: of EMNIST, or with some pictures only.
    """
    path = root / _folder(name) / file
    packed = path.with_name(f"{file}.gz")
    remedy = f"run `python -m course_utils fetch {name}`, or put the four original files of {name} there"
    if not path.is_file():
        if not packed.is_file():
            raise CourseError(f"{root} has no {_folder(name)}/{file} and no .gz of it; {remedy}.")
        cache = course_home() / "classics" / hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
        path = cache / _folder(name) / file
        if not has_checksum(path, ORIGINALS[name][file]):
            _unpack(packed, path)
    if not has_checksum(path, ORIGINALS[name][file]):
        raise CourseError(f"{file} in {root / _folder(name)} is not the original file of {name}; {remedy}.")
    return path


def _read_idx(files: dict[str, Path], part: str) -> tuple[Tensor, Tensor]:
    images = read_image_file(str(files[f"{part}-images-idx3-ubyte"]))
    return images[:, None], read_label_file(str(files[f"{part}-labels-idx1-ubyte"]))


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
