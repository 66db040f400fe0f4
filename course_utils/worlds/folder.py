"""The world `folder`: the reader's own pictures, captioned by tables, text files beside them, or names."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections import Counter
from pathlib import Path, PurePosixPath

from course_utils.common import CourseError
from course_utils.worlds.caption_files import read_sidecar, read_table, says_something, tidy
from course_utils.worlds.captioned import LEAST, Captioned, Captions, check_split
from course_utils.worlds.files import check_size, endings, read_squares
from course_utils.worlds.listing import LeftOut, list_folder, nfc, shown, told

TABLE = "captions.csv"  # in small or capital letters
EVERY = 10  # of so many pictures one is for testing, on average


def open_world(name: str, split: str, path: str | Path | None = None, size: int = 64) -> Captioned:
    """The pictures of the folder `path`, each cut to the square in its middle and resized to (3, size, size).

    Where their captions come from, `find_captions` says. The split "test" is kept for evaluation, never trained on: about
    one picture of ten, by the hash of its name in the folder alone, so that it stays when others come or go; where that
    would be fewer than LEAST, none is kept, and "train" is all. All pictures of the split are decoded now and kept as bytes, 12 kB each at size 64. `report` counts pictures and captions, and names what is left out.
    Raises CourseError if folder, pictures or captions are missing, and if files cannot be read, which it names.
    """
    check_split(name, split)
    check_size(size)
    if path is None:
        raise CourseError(f'The world {name} needs a folder of pictures: world("{name}", path="my_pictures").')
    root = Path(path).expanduser()
    listed, left_out = list_folder(root)
    found, sources = find_captions(root, listed, left_out)
    if not found:
        raise CourseError(
            f"There are no pictures in {root}; put some there (.jpg, .png, …). Left out: {told(left_out)}."
        )
    kept = {file for file in found if is_for_testing(file)}
    if len(kept) < LEAST:
        kept = set()
        if split == "test":
            raise CourseError(
                f"Of the {len(found)} pictures in {root} none is kept for evaluation, as {LEAST} at least must be, which "
                f"is one in {EVERY}; add some until there are more than about {LEAST * EVERY}, and train anew."
            )
    files = [file for file in sorted(found) if split == "all" or (file in kept) == (split == "test")]
    images = read_squares([root / file for file in files], size)
    return Captioned(
        name,
        split,
        len(files),
        lambda numbers: images[numbers].float() / 255,
        lambda i: _by_language(found[files[i]]),
        report=f"pictures: {len(found)}, {f'{len(kept)} of them' if kept else f'too few for {LEAST} to be'} kept for evaluation; "
        f"captions: {sources.total()} ({', '.join(f'{n} from {source}' for source, n in sources.items() if n)}), "
        f"for example {shown(files[0])}: {shown(found[files[0]][0])}; left out: {told(left_out)}",
    )


def is_for_testing(file: str) -> bool:
    """Whether the picture with this name, relative to its folder and with "/", belongs to the split "test", if there is one."""
    return int(hashlib.sha256(nfc(file).encode("utf-8", "surrogateescape")).hexdigest(), 16) % EVERY == EVERY - 1


def find_captions(root: Path, files: list[str], left_out: LeftOut) -> tuple[dict[str, list[str]], Counter[str]]:
    """Picture → its captions, and how many come from where; files that are not used are added to `left_out`.

    A table `captions.csv` with the columns file and caption speaks for the folder it lies in and all below: pictures
    that it does not name are left out, and one may have several lines. Elsewhere the lines of a text file with the
    picture's name ("red.txt" for "red.png") are its captions; without one the name of its sub-folder is, or, in no
    sub-folder, its own name without numbers. Raises CourseError for a table that names what is not there.
    """
    known = {nfc(file): file for file in files}
    found: dict[str, list[str]] = {}
    sources: Counter[str] = Counter()
    tables = [file for file in files if PurePosixPath(file).name.lower() == TABLE]
    for table in tables:
        for line, name, caption in read_table(root / table):
            where = f"Line {line} of {root / table}"
            found.setdefault(_named(root, posixpath.dirname(table), name, known, where), []).append(caption)
            sources[table] += 1
    spoken_for = {PurePosixPath(table).parent for table in tables}
    sidecars = {nfc(file[:-4]): file for file in files if file.lower().endswith(".txt")}
    used = {*tables, *found}
    by_name: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        if file in used or path.suffix.lower() not in endings():
            continue
        used.add(file)
        sidecar = sidecars.get(nfc(file.removesuffix(path.suffix))) or sidecars.get(nfc(file))
        if not spoken_for.isdisjoint(path.parents):
            left_out[f"pictures that no {TABLE} names"].append(file)
        elif sidecar is None:
            by_name[file] = words(path.stem if len(path.parts) == 1 else path.parent.name)
        else:
            used.add(sidecar)
            found[file] = read_sidecar(root / sidecar)
            sources["text files"] += len(found[file])
    for file, text in zip(by_name, without_numbers(list(by_name.values())), strict=True):
        found[file] = [text] if says_something(text) else []
        sources["names"] += len(found[file])
    for file in [file for file, captions in found.items() if not captions]:
        left_out["pictures whose name or text file says nothing"].append(file)
        del found[file]
    for file in files:
        if file not in used:
            left_out[f"{PurePosixPath(file).suffix.lower() or 'no ending'}, {_not_used(file)}"].append(file)
    return found, sources


def _not_used(file: str) -> str:
    if file.lower().endswith(".txt"):
        return f"beside no picture of that name, or below a {TABLE}"
    return f"which Pillow here does not read, and no {TABLE}"


def words(name: str) -> str:
    """The words of a file's name, without numbers behind them: "red_car-03" and "red car (3)" are "red car"."""
    text = tidy(re.sub(r"[_\-\x00-\x1f\x7f-\x9f]", " ", name))
    return re.sub(r"(?: \d+| ?\(\d+\))+$", "", text) or text


def without_numbers(texts: list[str]) -> list[str]:
    """The texts without a number at the end of a word if several differ in it alone: "cat1", "cat2", but not "co2"."""
    bare = {text: text.rstrip("0123456789") or text for text in texts}
    counts = Counter(bare.values())
    return [bare[text] if counts[bare[text]] > 1 else text for text in texts]


def _named(root: Path, folder: str, name: str, known: dict[str, str], where: str) -> str:
    """The file that a table in `folder` names. Raises CourseError if it lies outside or is not there."""
    inside = posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))
    if posixpath.isabs(inside):
        inside = os.path.relpath(os.path.realpath(inside), root.resolve())
    file = known.get(nfc(inside))
    if inside.startswith("../") or (file and not (root / file).resolve().is_relative_to(root.resolve())):
        raise CourseError(
            f"{where} names {shown(name)!r}, which lies outside the folder; put the picture into the folder."
        )
    if file is None:
        state = "is left out, being hidden or linked" if os.path.lexists(root / inside) else "is not there"
        raise CourseError(f"{where} names {shown(name)!r}, which {state}; put the picture there or remove the line.")
    return file


def _by_language(captions: list[str]) -> Captions:
    """Captions by language: Chinese if there is a Chinese character, else English, whatever it is."""
    found: Captions = {}
    for text in captions:
        found.setdefault("zh" if re.search(r"[\u3400-\u9fff]", text) else "en", []).append(text)
    return found
