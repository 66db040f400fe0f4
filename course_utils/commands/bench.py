"""`python -m course_utils bench`: what the machine can do at best, then each rung of the speed ladder, with its price in quality."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.common import ROOT, CourseError, atomic_path, course_home, typed_path

if TYPE_CHECKING:
    from course_utils.measure.kept import Kept

EXAMPLES = """examples:
  python -m course_utils bench                              the whole ladder into book/results: about half an hour on a CPU
  python -m course_utils bench --quick                      equal pictures, evaluations, operations and sizes only
  python -m course_utils bench --device cuda --minutes 5    the same on a GPU, with CUDA graphs and batches up to 4,096
  python -m course_utils bench --ceilings --json            only what the machine can do at best
  python -m course_utils bench --untimed --minutes 7        only the quality, which a busy machine does not change; again, until it is done

If it is interrupted, the same command goes on where it was. What it finds of quality stays in COURSE_HOME for the same weights and prompts, so that
the same command later takes the times alone anew.
"""
RESULTS = ROOT / "book" / "results"
LEFT_OUT = "It was left out of this run."
QUICK_STEPS = (2, 4)  # the fair and the naive start of --quick


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.epilog = EXAMPLES
    parser.allow_abbrev = False
    parser.add_argument("name", nargs="?", default="flow-shapes", help="weights of a generator (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="check what no machine can change, time nothing, write nothing"
    )
    parser.add_argument("--untimed", action="store_true", help="find and keep the quality only; write nothing")
    parser.add_argument("--restart", action="store_true", help="forget the quality that was kept")
    parser.add_argument("--ceilings", action="store_true", help="measure the machine's ceilings only")
    parser.add_argument("--prompts", type=int, help="prompts for the quality (default: 102, on a GPU 1,998)")
    parser.add_argument(
        "--sample",
        type=int,
        default=6,
        help="of these also judge B reads the first, on one core in some seconds each (default: %(default)s)",
    )
    parser.add_argument("--steps", type=int, help="of the fair start (default: chosen on validation prompts)")
    parser.add_argument(
        "--students",
        nargs="+",
        default=[],
        metavar="NAME",
        help="weights that were distilled from it: rungs of their own",
    )
    parser.add_argument("--rounds", type=int, default=9, help="timings of each rung (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="after so many no further rung is looked at")
    parser.add_argument("--out", type=typed_path, default=RESULTS, help="folder of the results (default: book/results)")
    parser.add_argument("--device", help='"cpu" or "cuda" (default: cuda if there is one)')
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")


def main(args: argparse.Namespace) -> int:
    """Measures, writes and prints."""
    import torch

    from course_utils.generators import load
    from course_utils.loaded import watch_loaded
    from course_utils.measure.kept import Kept
    from course_utils.speed.rungs import LADDERS
    from course_utils.weights import read_card

    for option, value, least in (
        ("--rounds", args.rounds, 1),
        ("--prompts", args.prompts or 3, 3),
        ("--steps", args.steps or 1, 1),
    ):
        if value < least:
            raise CourseError(f"{option} is {value}; it must be at least {least}.")
    kind = read_card(args.name).get("kind")
    if kind not in LADDERS:
        raise CourseError(
            f"The weights {args.name!r} are of the kind {kind!r}, for which there is no ladder; take flow-shapes."
        )
    until = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if args.quick:
        return quick(args, load(args.name, device))
    about = {"machine": machine(device), "versions": versions(), "date": datetime.date.today().isoformat()}
    found: dict[str, Any] = {}
    times, looked = Kept(), Kept(*quality_file(args, device))
    if args.restart:
        looked.drop()
        looked = Kept(*quality_file(args, device))
    if not args.untimed:
        if not args.ceilings:
            students = [read_card(name).get("sha256") for name in args.students]
            of = (args.name, students, args.steps, args.rounds, about, looked.key)
            times = Kept(course_home() / f"bench-times-{device}.pt", of)
        found = times("ceilings", lambda: limits(device, 5))
    ceiling = {**about, "threads": 1 if device == "cpu" else os.cpu_count(), **found}
    if args.ceilings:
        print(json.dumps(ceiling) if args.json else readable_limits(ceiling))
        return 0
    with watch_loaded() as weights:
        rows, chosen = ladder(args, load(args.name, device), found, until, times, looked)
    if args.untimed:
        return 0
    from course_utils.commands.cards import measured, typed

    made = measured(typed(args.argv), weights)
    rows = [rounded({**row, **about, "measured": made}) for row in rows]
    short = "gpu" if device.startswith("cuda") else "cpu"
    write(args.out / f"ladder-{short}.json", rows)
    write(args.out / f"ceilings-{short}.json", rounded({**ceiling, "steps_tried": chosen, "measured": made}))
    if until > time.monotonic():
        times.drop()
    print(json.dumps(rows, ensure_ascii=False) if args.json else table(rows))
    return 0


def quality_file(args: argparse.Namespace, device: str) -> tuple[Path, object]:
    """Where quality is kept, and of what: of these weights and readers, and of what is asked. (Each student has its own stages.)"""
    from course_utils.weights import read_card

    cards = [read_card(name).get("sha256") for name in (args.name, "judge", "features")]
    return course_home() / f"bench-quality-{device}.pt", (cards, args.prompts, args.sample, versions())


def ladder(
    args: argparse.Namespace, base: Any, found: dict[str, Any], until: float, times: Kept, looked: Kept
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows (none if they are not to be timed), and the accuracy of each number of steps that was tried on the validation prompts."""
    from course_utils.measure.fidelity import Features
    from course_utils.measure.judge import Judge
    from course_utils.measure.paired import Readers, asked_of
    from course_utils.measure.synthesis import SceneFitter
    from course_utils.speed.ladder import climb, look_only, say
    from course_utils.speed.quality import fewest_steps
    from course_utils.speed.rungs import LADDERS

    cuda = base.device.type == "cuda"
    prompts = args.prompts or (1998 if cuda else 102)
    judge, features = Judge.load(), Features.load()
    chosen: dict[int, float] = {}
    fair = args.steps
    if fair is None:
        fair, chosen = fewest_steps(base, judge, min(prompts, 999), kept=looked)
        say(f"the fair start takes {fair} steps; right, of the validation prompts: {chosen}")
    rungs = LADDERS[base.card["kind"]](fair, base.device.type, students=args.students)
    asked = asked_of(features, prompts, 64 if cuda else 12)
    fitter = SceneFitter() if args.sample > 0 else None
    readers = Readers(judge, features, fitter, args.sample)
    if args.untimed:
        done = look_only(base, rungs, asked, readers, until, looked)
        say("all quality is there" if done else "the time is over; the same command goes on")
        return [], {}
    rows = climb(
        base,
        rungs,
        found,
        "flow",
        rounds=args.rounds,
        readers=readers,
        asked=asked,
        until=until,
        kept=times,
        looked=looked,
    )
    return rows, {str(k): v for k, v in chosen.items()}


def quick(args: argparse.Namespace, base: Any) -> int:
    """What a machine cannot change, of each rung: its pictures equal the plain ones, its evaluations, operations and sizes. 1 if one does not."""
    from course_utils.speed.ladder import check_equal, prepare_all
    from course_utils.speed.rungs import CHANGES, LADDERS

    fair, naive = QUICK_STEPS
    left_out = [
        name for name in CHANGES if "compile" in name or "bf16" in name or "graph" in name
    ]  # minutes, on some machines
    skip = {name: LEFT_OUT for name in left_out}
    climbers = prepare_all(base, LADDERS[base.card["kind"]](fair, base.device.type, naive), skip)
    check_equal(climbers)
    rows = []
    for one in climbers:
        rows.append({"rung": one.rung.name, "steps": one.steps, "evaluations": one.evaluations, "reason": one.reason})
        if one.costs is not None:
            costs = one.costs(1)
            rows[-1] |= {"gflop": costs.operations / 1e9, "bytes": costs.bytes, "largest_difference": one.difference}
    failed = [row for row in rows if row["reason"] not in (None, LEFT_OUT)]
    print(
        json.dumps(rows)
        if args.json
        else "\n".join(f"{r['rung']}: {r['evaluations']} evaluations, {r['reason'] or 'equal'}" for r in rows)
    )
    return 1 if failed else 0


def limits(device: str, rounds: int) -> dict[str, Any]:
    """The ceilings with one thread (a GPU has but one kind), and under "all threads" with all of them."""
    from course_utils.measure.ceilings import ceilings
    from course_utils.speed.rungs import core_count, threads

    if device != "cpu":
        found = ceilings(device, rounds)
        return {**found, "all threads": found}
    with threads(1):
        found = ceilings(device, rounds)
    with threads(core_count()):
        return {**found, "all threads": ceilings(device, rounds)}


def machine(device: str) -> str:
    """One line: processor, cores, what it can do fast, GPU."""
    import torch

    from course_utils.commands.doctor import core_count, cpu_flags, cpu_model

    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in cpu_flags()]
    gpu = f", {torch.cuda.get_device_name()}" if device.startswith("cuda") else ""
    return f"{platform.system()} {platform.machine()}, {cpu_model()}, {core_count()} cores, {' '.join(fast) or 'no vector units known'}{gpu}"


def versions() -> dict[str, str]:
    """What it ran with."""
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__}


def write(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}", file=sys.stderr)


def rounded(value: Any) -> Any:
    """The same with floats of four significant digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def table(rows: list[dict[str, Any]]) -> str:
    """The ladder as a table of Markdown; see `speed.table`."""
    from course_utils.speed.table import markdown

    return markdown(rows)


def readable_limits(found: dict[str, Any]) -> str:
    """The ceilings in words."""
    gemm = ", ".join(f"{name} {value / 1e9:.4g}" for name, value in found["gemm"].items())
    return (
        f"{found['machine']}\nproducts of matrices, billion operations a second: {gemm}\n"
        f"memory: {found['bandwidth'] / 1e9:.3g} GB/s; a kernel with nothing to do: {found['overhead'] * 1e6:.2g} µs"
    )
