"""What lies in a folder: every file is listed, or left out with a reason that can be told."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from course_utils.common import CourseError

LeftOut = defaultdict[str, list[str]]  # a reason, said of many → the names it holds for
SYSTEM = {"@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX"}


def list_folder(root: Path) -> tuple[list[str], LeftOut]:
    """All files in and below a folder, by their names in it with "/", sorted; and what is left out of them.

    Left out are: what is hidden or kept by a system (thumbnails, waste baskets), links to folders or to nothing, names
    in no valid encoding, folders that cannot be read. Raises CourseError if `root` is no folder or cannot be read.
    """
    files: list[str] = []
    left_out: LeftOut = defaultdict(list)

    def unreadable(error: OSError) -> None:
        folder = Path(error.filename)
        if folder != root:
            left_out[f"folders that cannot be read, {error.strerror}"].append(folder.relative_to(root).as_posix())
        elif isinstance(error, FileNotFoundError | NotADirectoryError):
            raise CourseError(f"{root} is no folder; name one that holds pictures.") from error
        else:
            raise CourseError(
                f"The folder {root} cannot be read ({error.strerror}); make it readable, or name another."
            ) from error

    for folder, folders, names in os.walk(root, onerror=unreadable):
        below, inside = [], Path(folder).relative_to(root)
        for name in folders:
            if reason := _why_not(name) or (_LINKED if os.path.islink(os.path.join(folder, name)) else None):
                left_out[reason].append((inside / name).as_posix())
            else:
                below.append(name)
        folders[:] = below  # os.walk goes on with these
        for name in names:
            if reason := _why_not(name) or (None if os.path.isfile(os.path.join(folder, name)) else _NO_FILE):
                left_out[reason].append((inside / name).as_posix())
            else:
                files.append((inside / name).as_posix())
    return sorted(files), left_out


_LINKED = "linked folders; name them themselves, or copy them"
_NO_FILE = "what is no file that can be reached, such as a broken link"


def _why_not(name: str) -> str | None:
    """Why a file or folder of this name is left out, or None."""
    if name.startswith(".") or name in SYSTEM:
        return "hidden, or kept by the system"
    if any(unicodedata.category(sign) == "Cs" for sign in name):  # bytes that are no UTF-8
        return "names that cannot be written as text; rename them"
    return None


def nfc(name: str) -> str:
    """The name with each accented letter as one character; macOS and some archives write é as two."""
    return unicodedata.normalize("NFC", name)


def shown(name: object, most: int = 120) -> str:
    """A name as it can be printed anywhere: what is no sign or not seen is escaped, a very long one is cut."""
    unseen = {"Cc", "Cf", "Cs"}  # of them U+200D is left, which joins emoji
    text = "".join(
        repr(sign)[1:-1] if unicodedata.category(sign) in unseen and sign != "\u200d" else sign for sign in str(name)
    )
    return text if len(text) <= most else text[: most - 1] + "…"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many: "a, b, c and 4 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def told(left_out: LeftOut) -> str:
    """What was left out and why: "hidden (2): .a.png, .b.png; linked folders (1): dogs"; "nothing" if all is used."""
    return "; ".join(f"{why} ({len(names)}): {some(sorted(map(shown, names)))}" for why, names in left_out.items()) or (
        "nothing"
    )
