"""`python -m course_utils race`: the second ladder, how long a training takes until its pictures show what was asked."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from course_utils.commands.bench import RESULTS, machine, rounded, versions, write
from course_utils.common import CourseError, atomic_path, check_writable, course_home, typed_path

EXAMPLES = """examples:
  python -m course_utils race                       all rungs with three seeds, the rungs of one seed before the next
  python -m course_utils race --rungs start REPA    these only
  python -m course_utils race --task one --device cuda --minutes 7    a larger task on a GPU
A run that was stopped goes on with what is missing when the same command is given again; the result is written after each.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `race`."""
    parser.epilog = EXAMPLES
    parser.allow_abbrev = False
    parser.add_argument(
        "--task",
        default="circles",
        metavar="NAME",
        help="what is learned: circles (a CPU's, the default) or one (a GPU's)",
    )
    parser.add_argument("--rungs", nargs="+", metavar="RUNG", help="these only, with the start (default: all)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each rung (default: %(default)s)")
    parser.add_argument("--most", type=int, metavar="N", help="images after which a run gives up (default: the task's)")
    parser.add_argument("--rounds", type=int, default=9, help="timings of each rung (default: %(default)s)")
    parser.add_argument(
        "--timed", type=int, default=128, metavar="N", help="images of one timing (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, help="after so many no further run is begun")
    parser.add_argument("--restart", action="store_true", help="forget what was run and timed, and start again")
    parser.add_argument("--out", type=typed_path, default=RESULTS, help="folder of the result (default: book/results)")
    parser.add_argument("--device", help='"cpu" or "cuda" (default: cuda if there is one)')
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")


def main(args: argparse.Namespace) -> int:
    """Times all rungs, runs what is missing, writes and prints."""
    import dataclasses

    import torch

    from course_utils.commands.cards import measured, typed
    from course_utils.loaded import watch_loaded
    from course_utils.speed import caption_task
    from course_utils.speed import time_to_accuracy as ladder
    from course_utils.training.lock import alone_in

    until = time.monotonic() + 60 * args.minutes if args.minutes is not None else float("inf")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    rungs = chosen(args.rungs, ladder.RUNGS)
    task = chosen_task(args.task, caption_task.TASKS)
    for option, value in (
        ("--seeds", args.seeds),
        ("--rounds", args.rounds),
        ("--timed", args.timed),
        ("--most", args.most or 1),
    ):
        if value < 1:
            raise CourseError(f"{option} is {value}; it must be at least 1.")
    task = dataclasses.replace(task, most=args.most or task.most)
    check_writable(args.out)
    short = "gpu" if device.startswith("cuda") else "cpu"
    # another task, of which a single number differs, is another race: its runs lie in another folder
    number = hashlib.sha256(repr(task).encode()).hexdigest()[:8]
    folder = course_home() / "runs" / f"time-to-accuracy-{task.name}-{short}-{number}"
    with alone_in(folder), watch_loaded() as weights:
        if args.restart:
            for path in (folder / "runs.jsonl", folder / "prices.json"):
                path.unlink(missing_ok=True)
        began = time.monotonic()
        course = caption_task.Course(task, device)
        made = time.monotonic() - began
        prices = timed(folder / "prices.json", lambda some: ladder.prices(course, some, args.rounds, args.timed), rungs)
        about = {"machine": machine(device), "versions": versions(), "date": datetime.date.today().isoformat()}
        about["task"] = {
            **task_about(task),
            "pictures": len(course.latents),
            "ceiling": course.ceiling(),
            "seconds_to_make": made,
        }
        result: dict[str, Any] = {}

        def store() -> None:
            runs = [one for one in read_lines(folder / "runs.jsonl") if one["seed"] < args.seeds]
            rows = ladder.rows_of(rungs, runs, prices)
            curves = [{key: one[key] for key in ("rung", "seed", "curve")} for one in runs]
            result.update(
                about, rows=rows, curves=curves, left_out=ladder.LEFT_OUT, measured=measured(typed(args.argv), weights)
            )
            write(args.out / f"time-to-accuracy-{short}.json", rounded(result))

        store()
        for seed in range(args.seeds):
            for rung in rungs:
                done = {(one["rung"], one["seed"]) for one in read_lines(folder / "runs.jsonl")}
                if rung.only_price or (rung.name, seed) in done:
                    continue
                if time.monotonic() > until:
                    print("the minutes are over; the same command goes on with what is missing", file=sys.stderr)
                    break
                one = ladder.run(course, rung, seed)
                with atomic_path(folder / "runs.jsonl") as part:
                    lines = [json.dumps(run) + "\n" for run in [*read_lines(folder / "runs.jsonl"), one]]
                    part.write_text("".join(lines), encoding="utf-8")
                print(f"{rung.name}, seed {seed}: {one['images'] and round(one['images'])} images", file=sys.stderr)
                store()
    print(json.dumps(rounded(result), ensure_ascii=False) if args.json else ladder.markdown(result["rows"]))
    return 0


def chosen(names: list[str] | None, rungs: Any) -> list[Any]:
    """The start, and the rungs of these names; CourseError for one that there is not."""
    known = {rung.name: rung for rung in rungs}
    if wrong := [name for name in names or () if name not in known]:
        raise CourseError(f"There is no rung {wrong[0]!r}; choose from {', '.join(known)}.")
    return [rung for rung in rungs if names is None or rung is rungs[0] or rung.name in names]


def chosen_task(name: str, tasks: Any) -> Any:
    """The task of this name; CourseError if there is none."""
    if name not in tasks:
        raise CourseError(f"There is no task {name!r}; choose from {', '.join(tasks)}.")
    return tasks[name]


def task_about(task: Any) -> dict[str, Any]:
    """What a reader of the result must know of the task."""
    names = "name width depth batch_size learning_rate ema_half_life_images target certain prompts every most steps guidance".split()
    return {name: getattr(task, name) for name in names}


def timed(path: Path, measure: Any, rungs: list[Any]) -> dict[str, Any]:
    """What an image costs in each rung: from the file, if all rungs are there, else measured, all of them in turns."""
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if all(rung.name in found or rung.same_price for rung in rungs):
            return found
    found = measure(rungs)
    with atomic_path(path) as part:
        part.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The runs so far."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
