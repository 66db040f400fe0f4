"""`python -m course_utils run`: executes lessons, tidies what they showed, and stamps how it was made."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from course_utils.classroom import rules
from course_utils.classroom.pack import pack_figures
from course_utils.classroom.tidy import Notebook, code_cells, code_digest, dump, read, tags, text, tidy, without_outputs
from course_utils.common import DATA, ROOT, CourseError, atomic_path, sha256
from course_utils.extras import need
from course_utils.loaded import MODULES
from course_utils.loaded import VARIABLE as LOADED

NOTEBOOKS = ROOT / "notebooks"
PACKAGES = ("torch", "numpy", "matplotlib")
CELL_TIMEOUT = 3600  # seconds; it only guards against hangs
STEADY = {"seconds": (3.0, 0.25), "peak_mb": (50.0, 0.1)}  # a stamped number stays if the new one is this near

EXAMPLES = """examples:
  python -m course_utils run 00            run lesson 00, store its outputs, stamp its seconds and memory
  python -m course_utils run 04 --profile ci    only time it in the small profile
  python -m course_utils run --stale       refresh the lessons whose code, modules or weights have changed
  python -m course_utils run --all --check      change nothing, say what is wrong
"""


class Execution(NamedTuple):
    """A lesson that ran: its notebook with outputs, wall seconds, peak MB of its process, the weights and the modules of
    course_utils that it loaded, by name; and which cell failed how, "" if none did.
    """

    notebook: Notebook
    seconds: float
    peak_mb: float
    weights: list[str]
    modules: list[str]
    failure: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `run`."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lesson numbers, or notebook files")
    parser.add_argument("--all", action="store_true", help="all lessons")
    parser.add_argument(
        "--profile", choices=("laptop", "ci"), help="only this profile (default: ci, timed; then laptop, stored)"
    )
    parser.add_argument(
        "--stale", action="store_true", help="of these lessons (default: all) only those that are out of date"
    )
    parser.add_argument(
        "--check", action="store_true", help="run and change nothing; say what is wrong; exit code 1 if anything is"
    )
    parser.epilog = EXAMPLES


def main(args: argparse.Namespace) -> int:
    """Runs or checks the lessons that were asked for; returns 0, or 1 if a check found something."""
    everything = args.all or (not args.lessons and (args.stale or args.check))
    if not args.lessons and not everything:
        raise CourseError("Name the lessons to run, such as 00, or ask for --all or --stale.")
    paths = sorted(NOTEBOOKS.glob("*.ipynb")) if everything else [find(name) for name in args.lessons]
    if args.stale:
        reasons = {path: stale(path) for path in paths}
        paths = [path for path in paths if reasons[path]]
        for path in paths:
            print(f"{path.name}: out of date: {', '.join(reasons[path])}", flush=True)
        if args.check or not paths:
            print(f"{len(paths)} lessons are out of date")
            return 1 if paths else 0
    if args.check:
        found = [complaint for path in paths for complaint in rules.complaints(path)]
        if not found and everything:
            found = rules.total_complaints(paths)
        print("\n".join([*found, f"{len(paths)} lessons checked, {len(found)} complaints"]))
        return 1 if found else 0
    for path in paths:
        refresh(path, (args.profile,) if args.profile else ("ci", "laptop"))
        for complaint in rules.complaints(path):
            print(f"  to mend: {complaint}")
    return 0


def find(name: str, folder: Path | None = None) -> Path:
    """The notebook of a lesson, from its number ("4", "04") or its file. Raises CourseError if there is not exactly one."""
    if name.endswith(".ipynb"):
        return Path(name).resolve()
    folder = NOTEBOOKS if folder is None else folder
    found = sorted(folder.glob(f"{name.zfill(2)}_*.ipynb")) if name.isdecimal() else []
    if len(found) > 1:
        raise CourseError(f"Lesson {name} is ambiguous: {', '.join(path.name for path in found)}. Name the file.")
    if not found:
        there = ", ".join(path.stem for path in sorted(folder.glob("*.ipynb"))) or "none yet"
        raise CourseError(f"There is no lesson {name}; there are: {there}.")
    return found[0]


def refresh(path: Path, profiles: Sequence[str] = ("ci", "laptop")) -> None:
    """Runs a lesson in each profile and stores outputs (of `laptop`) and stamp; all or nothing.

    Raises CourseError if a cell fails, an output holds a machine's path, or the file was edited meanwhile; the stored
    notebook then stays as it was.
    """
    source, before = read(path), path.read_bytes()
    result, digests = tidy(source), module_digests()
    stamp = dict(source["metadata"].get("course", {}))
    old = stamp if stamp.get("digest") == code_digest(source) else {}  # numbers of other code are not compared
    if "laptop" in profiles:
        stamp = dict(old)
    for profile in profiles:
        print(f"{path.stem}: running in profile {profile} …", flush=True)
        run = execute(path, profile)
        print(f"{path.stem}: {run.seconds:.1f} s, {run.peak_mb:.0f} MB", flush=True)
        for key, value in (("seconds", run.seconds), ("peak_mb", run.peak_mb)):
            stamp[key] = {**stamp.get(key, {}), profile: _steady(key, old.get(key, {}).get(profile), value)}
        if profile == "laptop":
            result = pack_figures(tidy(run.notebook))
            stamp |= {
                "profile": profile,
                "digest": code_digest(source),
                "course_utils": {name: digests[name] for name in run.modules if name in digests},
                "weights": {name: card_digest(name) for name in run.weights},
                "versions": {"python": platform.python_version()}
                | {name: importlib.metadata.version(name) for name in PACKAGES},
            }
    result["metadata"]["course"] = stamp
    found = rules.machine_paths(result)
    if found:
        raise CourseError(f"{path.name}, {found[0]} The stored notebook is as it was.")
    if path.read_bytes() != before:
        raise CourseError(f"{path.name} was edited while it ran; its outputs are not stored. Run it again.")
    with atomic_path(path) as part:
        part.write_text(dump(result), encoding="utf-8")


def execute(path: Path, profile: str) -> Execution:
    """Runs all cells of a lesson from a fresh kernel of this Python in a profile, and measures it; the file is not changed.

    The kernel starts in the notebook's folder, as in JupyterLab. Raises CourseError with lesson, cell and the error's last
    line if a cell fails, and if papermill is missing.
    """
    run = attempt(read(path), path.parent, profile)
    if run.failure:
        raise CourseError(f"{path.stem}: {run.failure}. The stored notebook is as it was.")
    return run


def attempt(
    notebook: Notebook,
    place: Path,
    profile: str,
    *,
    root: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> Execution:
    """Runs a notebook in a process of its own as far as it goes; what went wrong is told in the `failure` of what it returns.

    Args:
        place: the folder in which its kernel starts.
        root: the folder of the course_utils that it imports.
        environment: what its process inherits (default: all that this one has).
        limit: seconds after which the process is killed, with those that it has started.

    Raises CourseError if papermill is missing.
    """
    need("test", "papermill")
    need("test", "ipykernel")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, after = folder / "in.ipynb", folder / "out.ipynb"
        weights, modules = folder / "weights.txt", folder / "modules.txt"
        before.write_text(dump(without_outputs(notebook)), encoding="utf-8")
        kernel = folder / "kernels" / "course" / "kernel.json"  # this Python, whatever kernels the reader has installed
        kernel.parent.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": start, "display_name": "course", "language": "python"}), encoding="utf-8")
        inherited = dict(os.environ if environment is None else environment)
        variables = {
            **inherited,
            "COURSE_PROFILE": profile,
            LOADED: str(weights),
            MODULES: str(modules),
            "JUPYTER_PATH": str(folder),
            "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [inherited.get("PYTHONPATH")])]),
            "PYTHONHASHSEED": "0",
            "TQDM_DISABLE": "1",  # bars hold clock times
            "CUDA_VISIBLE_DEVICES": "",  # both profiles are those of a machine without a GPU
        }
        variables.pop("MPLBACKEND", None)  # the kernel sets the one that shows figures
        command = [
            sys.executable,
            "-m",
            "papermill",
            str(before),
            str(after),
            "--kernel",
            "course",
            "--cwd",
            str(place),
        ]
        command += ["--no-progress-bar", "--execution-timeout", str(CELL_TIMEOUT), "--start-timeout", "300"]
        with open(folder / "log.txt", "w+", encoding="utf-8", errors="replace") as log:
            code, seconds, peak_mb = _measure(command, variables, log, limit)
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
        try:
            result = read(after)
        except CourseError:  # it did not come to its first cell, or was killed while it wrote
            result = {"cells": [], "metadata": {}}
        result["cells"] = [cell for cell in result["cells"] if "papermill-error-cell-tag" not in tags(cell)]
        failure = _failure(result, code, lines)
        if limit is not None and seconds >= limit:
            failure = f"the run was stopped after {limit:.0f} s"
        return Execution(result, seconds, peak_mb, _lines(weights), _lines(modules), failure)


def _lines(path: Path) -> list[str]:
    """The different lines of a file, sorted; none if it is not there."""
    return sorted(set(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []


def _measure(
    command: list[str], environment: dict[str, str], log: Any, limit: float | None = None
) -> tuple[int, float, float]:
    """Runs a command, for `limit` seconds at most; its exit code, wall seconds, and the peak MB of the largest process in it,
    which is the kernel.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    peak, unit = 0, 2**20 if sys.platform == "darwin" else 2**10
    timer = threading.Timer(limit or 0, _kill, [process.pid])
    if limit is not None:
        timer.start()
    try:
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss
        else:  # Windows: the memory stays unknown, and the lessons' check says so
            process.wait()
    except BaseException:  # Ctrl-C above all; a kernel ends with its parent
        process.terminate()
        process.wait()
        raise
    finally:
        timer.cancel()
    return process.returncode, time.perf_counter() - started, peak / unit


def _kill(pid: int) -> None:
    """Kills a process and all that it has started and not let go."""
    psutil = need("test", "psutil")  # comes with ipykernel
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for one in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def _failure(notebook: Notebook, code: int, log: list[str]) -> str:
    """Which cell failed, with the last line of its error; "" if all ran and only cells that may raise did."""
    cells = code_cells(notebook)
    for number, cell in enumerate(cells, 1):
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors and "raises-exception" not in tags(cell):
            first = text(cell["source"]).strip().splitlines()[0]
            last = f"{errors[0]['ename']}: {errors[0]['evalue']}".strip().splitlines()[-1]
            return f"code cell {number} (“{first[:60]}”) failed with {last}"
    if code and not any(
        "PapermillExecutionError" in line for line in log
    ):  # which it raises for cells that may raise, too
        ran = sum(cell["metadata"].get("papermill", {}).get("duration") is not None for cell in cells)
        return f"the run stopped in code cell {ran}: {log[-1] if log else 'no message'}"
    return ""


def _steady(key: str, old: float | None, new: float) -> float:
    """The old number if the new one is near it, so that running a lesson again changes its file only when it means something."""
    new = round(new, 1) if key == "seconds" else round(new)
    fixed, share = STEADY[key]
    return old if old and abs(new - old) <= max(fixed, share * old) else new


def stale(path: Path) -> list[str]:
    """Why a lesson's stored outputs are out of date: an empty list if they are not."""
    notebook = read(path)
    stamp = notebook["metadata"].get("course", {})
    if not stamp.get("digest"):
        return ["it has not been run"]
    return list(_reasons(notebook, stamp))


def _reasons(notebook: Notebook, stamp: dict[str, Any]) -> Iterator[str]:
    if stamp["digest"] != code_digest(notebook):
        yield "its code changed"
    imported = stamp.get("course_utils")
    if not isinstance(imported, dict):
        yield "what it imports is not known"
    else:
        digests = module_digests()
        yield from (f"{name} changed" for name, digest in imported.items() if digest != digests.get(name))
    for name, digest in stamp.get("weights", {}).items():
        if digest != card_digest(name):
            yield f"the weights {name} changed"


def module_digests() -> dict[str, str]:
    """For each module of course_utils, by the name it is imported by, the first sixteen digits of its file's SHA-256."""
    files = sorted((ROOT / "course_utils").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return {name: sha256(path)[:16] for name, path in zip(names, files, strict=True)}


def card_digest(name: str) -> str:
    """SHA-256 of a shipped weights' card, or "not shipped"."""
    card = DATA / "weights" / name / "card.json"
    return sha256(card) if card.exists() else "not shipped"
