"""The world `folder`: the reader's own pictures, captioned by file names, sub-folders or `captions.csv`."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from pathlib import Path

from course_utils.common import CourseError
from course_utils.worlds.captioned import Captioned, Captions, check_split
from course_utils.worlds.files import check_size, read_squares

KINDS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
TABLE = "captions.csv"
EVERY = 10  # of so many pictures one is for testing, on average


def open_world(name: str, split: str, path: str | Path | None = None, size: int = 64) -> Captioned:
    """The pictures of the folder `path`, each cut to the square in its middle and resized to (3, size, size).

    If there is a `captions.csv` with the columns file and caption, the world is what it names; a file may have several
    rows. Else it is every picture in the folder and below it, with the name of its sub-folder as caption, or, for
    those in no sub-folder, its own name without numbers: "red_car-03.jpg" is "red car". Hidden files are left out.

    The split hangs on the hash of a picture's name in the folder alone: about one of ten is for testing, and stays so
    when others come or go. All pictures of the split are decoded now and kept as bytes, 12 kB each at size 64. Raises
    CourseError if folder, pictures or captions are missing, and if a picture cannot be read, whose file it names.
    """
    check_split(name, split)
    check_size(size)
    if path is None:
        raise CourseError(f'The world {name} needs a folder of pictures: world("{name}", path="my_pictures").')
    root = Path(path).expanduser()
    if not root.is_dir():
        raise CourseError(f"{root} is no folder; name one that holds pictures.")
    found = _from_table(root) if (root / TABLE).exists() else _from_names(root)
    if not found:
        raise CourseError(f"There are no pictures in {root}; put some there ({', '.join(sorted(KINDS))}).")
    files = [file for file in sorted(found) if split == "all" or is_for_testing(file) == (split == "test")]
    if not files:
        raise CourseError(
            f"None of the {len(found)} pictures in {root} falls into the split {split!r}; add some, or take 'all'."
        )
    images = read_squares([root / file for file in files], size)
    return Captioned(
        name,
        split,
        len(files),
        lambda numbers: images[numbers].float() / 255,
        lambda i: _by_language(found[files[i]]),
    )


def is_for_testing(file: str) -> bool:
    """Whether the picture with this name, relative to its folder and with "/", belongs to the split "test"."""
    name = unicodedata.normalize("NFC", file)  # macOS may write é as two characters
    return int(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest(), 16) % EVERY == EVERY - 1


def _from_names(root: Path) -> dict[str, list[str]]:
    """File → captions, of the pictures in and below `root`."""
    found = {}
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        if path.suffix.lower() in KINDS and path.is_file() and not any(part.startswith(".") for part in inside.parts):
            found[inside.as_posix()] = [words(path.stem if len(inside.parts) == 1 else path.parent.name)]
    return found


def words(name: str) -> str:
    """The words of a file's name, without the numbers at its end: "red_car-03" and "red car (3)" are "red car"."""
    text = " ".join(re.sub(r"[_\-\s]+", " ", unicodedata.normalize("NFC", name)).split())
    return re.sub(r"(?:\s*\(?\d+\)?)+$", "", text).strip() or text or name


def _from_table(root: Path) -> dict[str, list[str]]:
    """File → captions, of the pictures that `captions.csv` names."""
    table = root / TABLE
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets put a mark in front
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            lines = [(rows.line_num, row.get("file"), row.get("caption")) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{table} cannot be read ({error}); save it as CSV in UTF-8.") from error
    if not {"file", "caption"} <= set(columns):
        raise CourseError(
            f'{table} has the columns {", ".join(columns) or "(none)"}; its first line must be "file,caption".'
        )
    found: dict[str, list[str]] = {}
    for number, name, caption in lines:
        if not name or not name.strip() or not caption or not caption.strip():
            raise CourseError(f"Line {number} of {table} lacks a file or a caption; fill it in or remove the line.")
        file_name = _inside(root, name.strip(), f"Line {number} of {table}")
        found.setdefault(file_name, []).append(caption.strip())
    return found


def _inside(root: Path, name: str, where: str) -> str:
    """The path in `root` of a picture that a table names. Raises CourseError if it lies outside or is not there."""
    name = name.replace("\\", "/")
    if not (root / name).resolve().is_relative_to(root.resolve()):
        raise CourseError(f"{where} names {name!r}, which lies outside the folder; put the picture into the folder.")
    if not (root / name).is_file():
        raise CourseError(f"{where} names {name!r}, which is not there; put the picture there or remove the line.")
    return (root / name).resolve().relative_to(root.resolve()).as_posix()


def _by_language(captions: list[str]) -> Captions:
    """Captions by language: Chinese if there is a Chinese character, else English, whatever it is."""
    found: Captions = {}
    for text in captions:
        found.setdefault("zh" if re.search(r"[\u3400-\u9fff]", text) else "en", []).append(text)
    return found
