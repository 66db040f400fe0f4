"""Downloads that may be interrupted: only the rest is asked for, and a file is whole and right or not there.

Also where downloads lie: `data_folders`, `find`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from course_utils.common import CourseError, course_home

VARIABLE = "COURSE_DATA"
CHUNK = 1 << 18  # bytes read at once; a killed download loses no more
RESERVE = 64 << 20  # bytes of the disk that are left free
TIMEOUT = 30.0  # seconds without an answer

# ------------------------------------------------------------------------------------------------------ where data lie


def data_folders() -> list[Path]:
    """Where downloaded worlds are looked for, and put into the first: COURSE_DATA if set, COURSE_HOME/data."""
    chosen = os.environ.get(VARIABLE, "").strip()
    return ([Path(chosen).expanduser()] if chosen else []) + [course_home() / "data"]


def find(name: str, inside: str, path: str | Path | None = None) -> Path:
    """The folder that holds `inside`, a folder of world `name`: `path` if given, else the first of `data_folders()`.

    Raises CourseError with both remedies if none does.
    """
    folders = data_folders() if path is None else [Path(path).expanduser()]
    for folder in folders:
        try:
            if (folder / inside).is_dir():
                return folder
        except PermissionError as error:
            raise CourseError(f"{error.filename} cannot be read ({error.strerror}); make it readable.") from error
    raise CourseError(
        f"The world {name} is not at hand, there is no {' and no '.join(str(folder / inside) for folder in folders)}: "
        f"run `python -m course_utils fetch {name}`, "
        f"or set the environment variable {VARIABLE} to the folder that holds {inside}."
    )


# ------------------------------------------------------------------------------------------------------------ fetching


class _Failed(Exception):
    """Why one server did not give the file; the next may."""


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether `path` is a file with this checksum in hexadecimal: MD5 if it has 32 digits, SHA-256 if it has 64."""
    kind = {32: "md5", 64: "sha256"}.get(len(checksum))
    if kind is None:
        raise ValueError(f"{checksum!r} is neither an MD5 nor a SHA-256 checksum")
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == checksum.lower()


def fetch(name: str, target: str | Path, *, mirrors: Sequence[str], checksum: str, size: int | None = None) -> Path:
    """Downloads the file `name` from the first of `mirrors` that gives it to `target`, and returns `target`.

    mirrors: addresses that, with `name` behind, are the file's; checksum: MD5 or SHA-256; size: bytes, if known. What
    has come lies in `target`.part, and a later call asks only for the rest; a part of another file is thrown away.
    `target` appears whole and with the right checksum or not at all; if it is there, nothing is asked. Raises
    CourseError if every server fails (with each one's reason), if the disk is too small, or if the folder cannot be
    written.
    """
    target = Path(target)
    for mirror in mirrors:
        if not mirror.startswith(("http://", "https://")):
            raise CourseError(f"{mirror!r} is no address of a server; it must begin with http:// or https://.")
    part = target.with_name(f"{target.name}.part")
    reasons = []
    try:
        if has_checksum(target, checksum):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{name}"
            try:
                _complete(part, url, checksum, size)
            except _Failed as reason:
                reasons.append(f"{url} {reason}")
                continue
            part.replace(target)
            return target
    except OSError as error:
        raise CourseError(
            f"Cannot write {target}: {error.strerror or error}. Free some space or choose another folder."
        ) from error
    kept = f" and go on after {_mib(part.stat().st_size)}" if part.is_file() else ""
    raise CourseError(
        f"{name} could not be fetched: {'; '.join(reasons)}. Check the connection and run it again{kept}, "
        "or name another server with --mirror."
    )


def _complete(part: Path, url: str, checksum: str, size: int | None) -> None:
    """Brings `part` to its end from one server; a part that proves to be of another file is fetched anew, once."""
    if has_checksum(part, checksum):  # killed between the last byte and the renaming
        return
    resumed = _download(part, url, size)
    if resumed and not has_checksum(part, checksum):
        part.unlink()
        _download(part, url, size)
    if not has_checksum(part, checksum):
        part.unlink()
        raise _Failed("gives a file with another checksum")


def _download(part: Path, url: str, size: int | None) -> bool:
    """Asks for what `part` lacks and writes it down; True if `part` was continued, False if it began anew."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "words-to-pixels"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the file ends before our part does
            part.unlink()
            return _download(part, url, size)
        raise _Failed(f"answers {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise _Failed(f"cannot be reached ({_why(error)})") from error
    with response:
        resumed = have > 0 and response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()  # the server sends another piece than the one we asked for
            return _download(part, url, size)
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else size
        if size is not None and total != size:
            raise _Failed(f"offers {total} bytes instead of {size}")
        if total is not None:
            _need_room(part, total - have)
        bar = tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, unit_divisor=1024)
        with part.open("ab" if resumed else "wb") as file, bar:
            while chunk := _read(response):
                _need_room(part, len(chunk))
                file.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
                if total is not None and have > total:
                    raise _Failed(f"sends more than the {total} bytes it promised")
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise _Failed(f"stops after {have} of {total} bytes")
    return resumed


def _read(response) -> bytes:
    """The next bytes; b"" at the end, too early or not. Errors here are the network's, not the disk's."""
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _Failed(f"breaks off ({_why(error)})") from error


def _need_room(part: Path, need: int) -> None:
    """Raises CourseError if the disk cannot take `need` more bytes and keep RESERVE free."""
    free = shutil.disk_usage(part.parent).free
    if free < need + RESERVE:
        raise CourseError(
            f"The disk of {part.parent} has {_mib(free)} left, and {part.stem} needs {_mib(need)} more besides a "
            f"reserve of {_mib(RESERVE)}; free some space and run it again, what has come is kept."
        )


def _why(error: Exception) -> object:
    """The reason inside an error of the network, short."""
    reason = error.reason if isinstance(error, URLError) else error
    return (reason.strerror or reason) if isinstance(reason, OSError) else reason or type(reason).__name__


def _mib(n: int) -> str:
    return f"{n / 2**20:,.1f} MiB"
