"""One training at a time in a folder: two would delete each other's checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from course_utils.common import CourseError, cannot_write

try:
    import fcntl
except ImportError:  # Windows has no such locks; there nobody is kept out
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def alone_in(folder: Path | None) -> Iterator[None]:
    """Makes the folder, and keeps other processes from training in it until the block ends, or the process, however it ends.

    The file `lock` stays there: that it exists means nothing, only that it is locked. These are POSIX record locks, which
    the processes that make batches do not inherit. None is no folder, and nothing is done. Raises CourseError if another
    process is at work there, or if the folder cannot be written to.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except (OSError, ValueError) as error:
        raise cannot_write(folder, error) from error
    with file:
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise CourseError(
                f"Another training is at work in {folder}; wait until it has ended, or give this one another folder (--run)."
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
