"""A student beside its teacher, and beside what costs the teacher as much: the same prompts, noise and judges, by group and by attribute.

Pictures, and what was read of them, are kept in COURSE_HOME by weights, sampler, prompts and seed: a stopped run goes on, and the
teacher's are drawn once for all its students.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from course_utils.common import course_home
from course_utils.generators import Generator
from course_utils.measure.fidelity import Features
from course_utils.measure.intervals import paired_bootstrap, wilson
from course_utils.measure.judge import Judge
from course_utils.measure.kept import Kept
from course_utils.measure.paired import Asked, Readers, asked_of, compare, look
from course_utils.measure.quality import COUNTS, groups_of
from course_utils.measure.worlds import SHAPES, Measured

AT_ONCE = 32  # pictures of a block: drawn, and kept, together
FEW = 10  # pictures that judge B reads before they are kept
Say = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """One way to draw: who, in how many steps, with how much guidance."""

    name: str
    generator: Generator
    steps: int
    guidance: float

    def evaluations(self, prompt: str) -> int:
        """Passes of the model for one picture; a guided one counts as two."""
        return self.generator(prompt, steps=self.steps, guidance=self.guidance).evaluations

    def kept(self, restart: bool = False) -> Kept:
        """What is there of it already; nothing if it is to begin anew."""
        names = ("solver", "schedule")
        of = (self.generator.card["sha256"], *(getattr(self.generator, name, None) for name in names))
        of = (*of, self.steps, self.guidance)
        path = course_home() / "beside" / f"{digest(of)}.pt"
        if restart:
            path.unlink(missing_ok=True)
        return Kept(path, of)


def digest(value: object) -> str:
    """A short name for a value."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def ways(
    student: Generator, teacher: Generator, prompt: str, steps: int | None = None, guidance: float | None = None
) -> list[Way]:
    """Teacher, student, and the controls: the teacher, guided and unguided, in as many evaluations as the student takes.

    steps, guidance: of the student (default: its card's). A step is the least there is, so that a guided control of a student of one
    evaluation costs two. prompt: any, to count with.
    """
    first = Way("teacher", teacher, teacher.steps, teacher.guidance)
    steps, guidance = student.steps if steps is None else steps, student.guidance if guidance is None else guidance
    second = Way("student", student, steps, guidance)
    cost, controls = second.evaluations(prompt), []
    for name, strength in (("control, guided", teacher.guidance), ("control, unguided", 1.0)):
        each = Way(name, teacher, 1, strength).evaluations(prompt)
        controls.append(Way(name, teacher, max(1, cost // each), strength))
    return [first, second, *controls]


def drawing(way: Way, kept: Kept, base: int = 0, say: Say = print) -> Callable[..., Tensor]:
    """`draw(prompts, seed)` as `look` wants it: pictures (N, 3, H, W) in [0, 1], as eight bits hold them, of the seed `base` + `seed`.

    They are drawn and kept in blocks, and are those of one call of the generator.
    """

    def block(texts: list[str], first: int, seed: int) -> Tensor:
        found = way.generator(texts, steps=way.steps, guidance=way.guidance, seed=seed, first=first)
        say(f"{way.name}: pictures {first} to {first + len(texts) - 1}, {found.seconds:.1f} s")
        return (found.images * 255).round().byte()

    def draw(prompts: list[str], seed: int = 0) -> Tensor:
        seed, parts = base + seed, []
        for first in range(0, len(prompts), AT_ONCE):
            texts = prompts[first : first + AT_ONCE]
            make = partial(block, texts, first, seed)
            parts.append(kept(f"pictures from {first}, seed {seed}, {digest(texts)}", make))
        return torch.cat(parts) / 255

    return draw


def read_again(
    second: Any, pictures: Tensor, asked: Asked, sample: int, kept: Kept, name: str, say: Say = print
) -> list[bool]:
    """Whether judge B calls the first pictures right, `sample` of each group; name: of what it reads, in `kept`."""
    most, right = min(len(pictures), sample * len(asked.groups)), []

    def read(first: int, last: int) -> list[bool]:
        readings = second.read(pictures[first:last])
        say(f"judge B: pictures {first} to {last - 1} of {name}")
        return [r.shows(p.asked) for r, p in zip(readings, asked.prompts[first:last], strict=True)]

    for first in range(0, most, FEW):
        last = min(first + FEW, most)
        right += kept(f"judge B, {first} to {last}, {name}", partial(read, first, last))
    return right


def share(mine: Sequence[bool], start: Sequence[bool], rows: Sequence[int]) -> dict[str, Any]:
    """How many of these rows are right, with Wilson's interval, and the difference from the start, with its paired one."""
    a, b = ([float(one[i]) for i in rows] for one in (mine, start))
    return {
        "right": int(sum(a)),
        "of": len(rows),
        "interval": wilson(int(sum(a)), len(rows)),
        "difference": paired_bootstrap(a, b),
    }


def picked(found: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """What `compare` needs of these prompts alone."""
    right = [found["right"][i] for i in rows]
    return {"right": right, "second": [], "features": found["features"][rows], "diversity": found["diversity"]}


def row_of(
    way: Way, mine: dict[str, Any], teacher: dict[str, Any], student: dict[str, Any], asked: Asked
) -> dict[str, Any]:
    """All that is said of one way: by group, by attribute, fidelity and diversity; differences are from the teacher.

    Attributes, certainty and fidelity are those of the groups in COUNTS, whose words and combinations were trained on. attributes: as everywhere, a
    picture of which judge A is unsure is wrong in all; most_likely: what it most likely sees, however unsure; sure: whether it is sure of the picture.
    """
    groups = {"all": list(range(len(asked.prompts))), **{group: asked.rows(group) for group in asked.groups}}
    sampled = {group: [i for i in rows if i < len(mine["second"])] for group, rows in groups.items()}
    plain = asked.rows(*COUNTS)
    names = dict.fromkeys(name for i in plain for name in mine["parts"][i])
    said = {name: [i for i in plain if name in mine["parts"][i]] for name in names}
    likely = lambda one, name: [parts.get(name, False) for parts in one["parts"]]  # noqa: E731
    surely = lambda one, name: [a and b for a, b in zip(one["sure"], likely(one, name), strict=True)]  # noqa: E731
    quality = compare(picked(mine, plain), picked(teacher, plain), asked)
    kinds = ("fidelity", "diversity")
    return {
        "name": way.name,
        "steps": way.steps,
        "guidance": way.guidance,
        "evaluations": way.evaluations(asked.prompts[0].text),
        "groups": {group: share(mine["right"], teacher["right"], rows) for group, rows in groups.items()},
        "judge_b": {g: share(mine["second"], teacher["second"], rows) for g, rows in sampled.items() if rows},
        "sure": share(mine["sure"], teacher["sure"], plain),
        "attributes": {name: share(surely(mine, name), surely(teacher, name), rows) for name, rows in said.items()},
        "most_likely": {name: share(likely(mine, name), likely(teacher, name), rows) for name, rows in said.items()},
        **{kind: quality[kind] for kind in (*kinds, "fidelity_floor", "pictures")},
        "intervals": {k: quality["intervals"][k] for kind in kinds for k in (kind, f"{kind}_difference")},
        "from_student": share(mine["right"], student["right"], groups["all"])["difference"],
    }


def beside(
    student: Generator,
    teacher: Generator,
    judge: Judge,
    features: Features,
    *,
    prompts: int = 400,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    test: int | None = None,
    second: Any = None,
    sample: int = 20,
    captions: int = 64,
    about: object = None,
    restart: bool = False,
    of: Measured = SHAPES,
    say: Say = print,
) -> list[dict[str, Any]]:
    """A row (`row_of`) for each of the `ways`, over `prompts` prompts of each group in which everything is said.

    The student's row also has `each`: a 1 for each picture that is right, a 0 for each that is not, so that students can be paired later.

    steps, guidance: of the student, if not its card's. test: the list of scenes of the prompts (default: the world's "test"). second: judge B, which
    reads the first `sample` pictures of each group. about: what else the readings depend on, such as the judges' checksums; what was kept of
    other ones is not used. restart: nothing that was kept is. say: is told how far it is.
    """
    groups = tuple(group for group in groups_of(of) if group != "natural")
    asked = asked_of(features, prompts * len(groups), captions, seed=test, groups=groups, of=of, side=teacher.side)
    readers = Readers(judge, features)
    every = ways(student, teacher, asked.prompts[0].text, steps, guidance)
    texts = [prompt.text for prompt in asked.prompts]
    name = digest((texts, asked.captions, asked.copies, seed, about))
    found = []
    for way in every:
        kept = way.kept(restart)
        draw = drawing(way, kept, seed, say)
        found.append(kept(f"readings {name}", partial(look, draw, asked, readers)))
        say(f"{way.name}: judge A calls {sum(found[-1]['right'])} of {len(texts)} right")
    for i, way in enumerate(every if second is not None else ()):  # last, as it is slow
        kept = way.kept()
        pictures = drawing(way, kept, seed, say)(texts)
        found[i] = {**found[i], "second": read_again(second, pictures, asked, sample, kept, name, say)}
    rows = [row_of(way, mine, found[0], found[1], asked) for way, mine in zip(every, found, strict=True)]
    rows[1]["each"] = "".join(str(int(right)) for right in found[1]["right"])
    return rows


def by_group(entry: dict[str, Any]) -> str:
    """Table of Markdown of an entry of book/results/students-cpu.json: what each way costs, and what it gets right of each group.

    In per cent; beside it the difference from the teacher, in points, with its paired 95 % interval.
    """
    rows = entry["rows"]
    lines = [["", *(row["name"] for row in rows)]]
    lines += [[name, *(f"{row[name]:g}" for row in rows)] for name in ("steps", "guidance", "evaluations")]
    for group, first in rows[0]["groups"].items():
        about = f"{group.replace('_', ' ')}, judge A: % of {first['of']:,}"
        lines.append([about, *(percent(row["groups"][group]) for row in rows)])
    if second := [row["judge_b"]["all"] for row in rows if row["judge_b"]]:  # of each group too few to tell them apart
        lines.append([f"all, judge B: % of {second[0]['of']:,}", *map(percent, second)])
    apart = [[100 * v for v in row["from_student"]] for row in rows]
    lines.append(["all, judge A: points from the student", *(interval(one, 1) if any(one) else "–" for one in apart)])
    for kind, about in (("fidelity", f" (floor {rows[0]['fidelity_floor']:.1f})"), ("diversity", "")):
        cells = [with_difference(row[kind], row["intervals"][f"{kind}_difference"], 2) for row in rows]
        lines.append([kind + about, *cells])
    return _markdown(lines)


def by_attribute(entry: dict[str, Any]) -> str:
    """Table of Markdown of the same entry: what judge A most likely sees of each attribute, and how often it is sure of a picture."""
    rows = entry["rows"]
    lines = [["most likely seen", *(row["name"] for row in rows)]]
    for name, first in rows[0]["most_likely"].items():
        lines.append([f"{name}: % of {first['of']:,}", *(percent(row["most_likely"][name]) for row in rows)])
    lines.append([f"judge A is sure: % of {rows[0]['sure']['of']:,}", *(percent(row["sure"]) for row in rows)])
    return _markdown(lines)


def percent(found: dict[str, Any]) -> str:
    """A share in per cent, with its difference in points."""
    return with_difference(100 * found["right"] / found["of"], [100 * v for v in found["difference"]], 1)


def with_difference(value: float, difference: Sequence[float], digits: int) -> str:
    """A number and its difference from the teacher with the interval; the number alone where nothing differs."""
    return f"{value:.{digits}f}" + (f", {interval(difference, digits)}" if any(difference) else "")


def interval(difference: Sequence[float], digits: int) -> str:
    """A difference with its interval."""
    apart, low, high = (f"{v:+.{digits}f}" for v in difference)
    return f"{apart} [{low}, {high}]"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, f"|{' --- |' * len(lines[0])}", *rest])
