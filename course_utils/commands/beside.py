"""`evaluate STUDENT --beside TEACHER`: what a student loses, and its controls of equal cost; see `measure.beside`."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from course_utils.common import CourseError

SAMPLE = 20  # pictures of each group that judge B reads


def check(args: argparse.Namespace) -> None:
    """Raises CourseError for options that mean nothing beside a teacher, or only there."""
    if args.restart and not args.beside:
        raise CourseError("--restart forgets what --beside has kept; name a teacher with --beside, or leave it out.")
    for option in ("path", "choose", "snapshots", "quick", "update_card") if args.beside else ():
        if getattr(args, option) not in (None, False):
            raise CourseError(
                f"--beside compares a student with its teacher on prompts; leave out --{option.replace('_', '-')}."
            )


def entry(args: argparse.Namespace) -> dict[str, Any]:
    """What is measured of the student `args.name` beside the teacher `args.beside`."""
    from course_utils.commands.evaluate import judge_b, learned
    from course_utils.generators import load
    from course_utils.loaded import identity
    from course_utils.measure.beside import beside
    from course_utils.measure.fidelity import Features
    from course_utils.measure.judge import Judge
    from course_utils.weights import read_card

    student, teacher = load(args.name, args.device), load(args.beside, args.device)
    of = learned(teacher.card)
    if (learned(student.card).name, student.side) != (of.name, teacher.side):
        raise CourseError(
            f"{args.name} and {args.beside} do not draw the same pictures: one draws {student.card.get('world', 'shapes')} at {student.side} "
            f"pixels, the other {of.name} at {teacher.side}; name a student and its teacher."
        )
    sample = SAMPLE if args.sample is None else args.sample
    rows = beside(
        student,
        teacher,
        Judge.load(of.judge),
        Features.load(of.features),
        prompts=args.prompts,
        steps=args.steps,
        guidance=args.guidance,
        seed=args.seed,
        test=of.seeds["validation" if args.validation else "test"],
        second=judge_b(of.name) if sample > 0 else None,
        sample=sample,
        about=[identity(read_card(name)) for name in (of.judge, of.features)],
        restart=args.restart,
        of=of,
        say=partial(print, file=sys.stderr, flush=True),
    )
    card = student.card
    about = {"teacher": Path(args.beside).name, "method": card.get("method"), "learned_by": card.get("command")}
    return {**about, "prompts": args.prompts, "sample": sample, "seed": args.seed, "rows": rows}


def joined(path: Path | None, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a results file with this one in the place of the same student's in as many steps, or at the end.

    Raises CourseError for a file that holds anything else.
    """
    if path is None or not path.exists():
        return [found]
    key = lambda one: (one["name"], one["teacher"], one["rows"][1]["steps"])  # noqa: E731
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        places = {key(one): i for i, one in enumerate(there)}
    except (ValueError, TypeError, LookupError) as error:
        raise CourseError(
            f"{path} is no list of students that `evaluate --beside` wrote; name another file."
        ) from error
    at = places.get(key(found), len(there))
    return [*there[:at], found, *there[at + 1 :]]


def readable(found: dict[str, Any]) -> str:
    """The tables, for people."""
    from course_utils.measure.beside import by_attribute, by_group

    return f"{by_group(found)}\n\n{by_attribute(found)}"
