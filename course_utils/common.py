"""What every room needs: the one error class, where files live, writing without leaving halves behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the checkout
DATA = ROOT / "data"  # what ships
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # of a disk, a file-size limit, a quota


class CourseError(Exception):
    """An error that tells the reader what was wrong, what was expected and what to do, in one sentence.

    The command line prints it without a traceback and exits with code 2.
    """


def course_home() -> Path:
    """Folder for checkpoints, caches and downloads: `COURSE_HOME`, by default `~/.cache/words-to-pixels`.

    Raises CourseError if neither can be told, as for a user without a home directory.
    """
    try:
        return Path(os.environ.get("COURSE_HOME") or "~/.cache/words-to-pixels").expanduser()
    except RuntimeError as error:
        raise CourseError(
            "There is no home directory here; set COURSE_HOME to a folder that you may write to."
        ) from error


def typed_path(text: str | Path) -> Path:
    """The path that a reader means: `~` is their home, also behind an "=", where shells leave it. CourseError for what is none."""
    try:
        if not str(text) or "\0" in str(text):
            raise ValueError
        return Path(text).expanduser()
    except (ValueError, RuntimeError) as error:
        raise CourseError(f"{str(text)!r} is no name of a file or folder here; give another.") from error


def check_writable(folder: Path) -> None:
    """Raises CourseError if files cannot be put into this folder, there already or not: said before hours of work, not after."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise cannot_write(folder, NotADirectoryError(errno.ENOTDIR, f"{there} is no folder"))
    if not os.access(there, os.W_OK | os.X_OK):
        raise cannot_write(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def cannot_write(target: Path, error: OSError | ValueError) -> CourseError:
    """The sentence for a file or folder that cannot be written."""
    reason = getattr(error, "strerror", None) or error
    remedy = "Choose a place that you may write to"
    if getattr(error, "errno", None) in FULL:
        remedy = "Free some space or lift the limit, and run it again"
    return CourseError(f"Cannot write {str(target).replace(chr(0), '?')}: {reason}. {remedy}.")


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; renames it to `target` when the block ends well, else removes it.

    A reader of `target` therefore sees the old file or the whole new one, never a half.
    Raises CourseError if the folder cannot be written to or the disk or file-size limit is hit.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem[:40]}.", suffix=f".part{target.suffix}"
        )
    except (OSError, ValueError) as error:
        raise cannot_write(target, error) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
