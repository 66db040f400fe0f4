"""What every room needs: the one error class, where files live, writing without leaving halves behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # the checkout
DATA = ROOT / "data"  # what ships


class CourseError(Exception):
    """An error that tells the reader what was wrong, what was expected and what to do, in one sentence.

    The command line prints it without a traceback and exits with code 2.
    """


def course_home() -> Path:
    """Folder for checkpoints, caches and downloads: `COURSE_HOME`, by default `~/.cache/words-to-pixels`."""
    return Path(os.environ.get("COURSE_HOME") or Path.home() / ".cache" / "words-to-pixels")


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; renames it to `target` when the block ends well, else removes it.

    A reader of `target` therefore sees the old file or the whole new one, never a half.
    Raises CourseError if the folder cannot be written or the disk or file-size limit is hit.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem[:40]}.", suffix=f".part{target.suffix}"
        )
    except OSError as error:
        raise CourseError(f"Cannot write {target}: {error.strerror}. Choose a folder that you may write to.") from error
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
        reason = error.strerror or error
        raise CourseError(
            f"Cannot write {target}: {reason}. Free some space or lift the limit, and run it again."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
