"""The speed ladder: each rung's time, operations, memory and quality, on the same weights, prompts and seeds.

`climb` makes a row for each rung. A rung that fails stays in the table, with the reason.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.generators import Generator
from course_utils.generators.base import noise_for
from course_utils.measure.ceilings import roof
from course_utils.measure.costs import Costs, count
from course_utils.measure.kept import Kept
from course_utils.measure.paired import Asked, Readers, compare, look
from course_utils.measure.timing import interleaved, milliseconds, ratio, spread
from course_utils.speed.quality import AT_ONCE
from course_utils.speed.rungs import CHANGES, FUSED, Rung, change, core_count, threads

FIELDS = (
    "family rung start ms_batch1 ms_batch32 images_per_second peak_mb evaluations gflop accuracy fidelity diversity intervals "
    "factor fewer_operations faster_operations reason"
).split()
BATCHES = {"cpu": (1, 32), "cuda": (1, 32, 64, 1024, 4096)}
LARGE = 16  # pictures: on a CPU such a batch lasts seconds
TIMED = "a small red circle above a large blue square"  # what is drawn for the clock
MIB = 2**20


@dataclass
class Climber:
    """A rung with the generator that it made, and all that is found out about it."""

    rung: Rung
    generator: Any = None
    steps: int = 0
    costs: Callable[[int], Costs] | None = None  # of a batch
    evaluations: int = 0
    times: dict[int, list[float]] = field(default_factory=dict)  # batch: milliseconds of each round
    peak: int = 0  # bytes
    compile_seconds: float = 0.0
    difference: float | None = None  # largest, of a pixel, from the rung that it should equal
    quality: dict[str, Any] = field(default_factory=dict)
    quality_of: str | None = None  # the rung whose pictures these are
    reason: str | None = None

    def call(self, batch: int, seed: int = 0) -> Tensor:
        """Pictures of the prompt that is drawn for the clock."""
        return self.draw([TIMED] * batch, seed, batch)

    def draw(self, prompts: Sequence[str], seed: int = 0, batch_size: int = AT_ONCE) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1]."""
        return self.generator(prompts, steps=self.steps, seed=seed, batch_size=batch_size).images


def prepare(base: Generator, rung: Rung, steps: int | None = None) -> Climber:
    """Makes the rung's generator of a copy of `base`, and counts what it costs, before anything is fused."""
    climber = Climber(rung, copy.deepcopy(base), steps or rung.steps)
    for name in rung.changes:
        if name not in FUSED:
            climber.generator = change(name)(climber.generator)
    one, two = (count(partial(plain_draw, climber, batch)) for batch in (1, 2))
    climber.costs = partial(extrapolate, one, two)
    passes: list[int] = []
    hook = climber.generator.model.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    plain_draw(climber, 1)
    hook.remove()
    climber.evaluations = sum(passes)
    for name in rung.changes:
        if name in FUSED:
            climber.generator = change(name)(climber.generator)
    return climber


def plain_draw(climber: Climber, batch: int) -> object:
    """One drawing without the inference mode of `Generator.__call__`, in which PyTorch shows whole operators instead of kernels."""
    jobs = [(i, 0) for i in range(batch)]
    device = climber.generator.device
    noise = lambda *shape: noise_for(0, jobs, shape).to(device)  # noqa: E731
    with torch.no_grad():
        return climber.generator.draw([TIMED] * batch, noise, climber.steps, climber.generator.guidance)


def extrapolate(one: Costs, two: Costs, batch: int) -> Costs:
    """The costs of a batch, from those of one and of two pictures: a straight line, as only the weights are shared."""
    line = lambda a, b: a + (batch - 1) * (b - a)  # noqa: E731
    return Costs(
        line(one.operations, two.operations),
        line(one.bytes, two.bytes),
        one.kernels,
        line(one.peak, two.peak),
        line(one.convolutions, two.convolutions),
    )


def prepare_all(base: Generator, rungs: Sequence[Rung], skip: Mapping[str, str] | None = None) -> list[Climber]:
    """All rungs, those that fail with their reason. The steps of a control are those that cost the same as what it controls.

    skip: changes that are not tried, and why.
    """
    found: dict[str, Climber] = {}
    for rung in rungs:
        try:
            for name in rung.changes:
                if skip and name in skip:
                    raise CourseError(skip[name])
            steps = rung.steps
            if rung.control:
                other = found[rung.control]
                if other.reason is not None:
                    raise CourseError(f"What it is the control of failed: {other.reason}")
                steps = equal_steps(worth(other, rung.steps, base), rung.steps)
            found[rung.name] = prepare(base, rung, steps)
        except Exception as error:
            found[rung.name] = Climber(rung, reason=sentence(error))
    return list(found.values())


def equal_steps(evaluations: int, steps: int) -> int:
    """How many guided steps of a ladder's `steps` cost as many evaluations (two a step), rounded up: in favour of the control."""
    return max(1, min(steps, -(-evaluations // 2)))


def worth(other: Climber, steps: int, base: Generator) -> int:
    """How many plain evaluations cost as many operations as a rung of `steps` that skips some, or parts of them; rounded up."""
    plain = prepare(base, Rung("", (), steps))
    assert other.costs is not None and plain.costs is not None
    share = other.costs(1).operations / plain.costs(1).operations
    return min(other.evaluations, -int(-share * plain.evaluations // 1))


def sentence(error: Exception) -> str:
    """An error as one short sentence."""
    return " ".join(f"{'' if isinstance(error, CourseError) else type(error).__name__ + ': '}{error}".split())[:200]


def emulated(machine: dict[str, Any]) -> dict[str, str]:
    """The changes to bf16, where the machine only emulates it, and why not to wait for them: the ceiling says all there is to say."""
    gemm = machine["gemm"]
    if gemm["bf16"] >= gemm["fp32"] / 4:
        return {}
    why = (
        f"This machine has no unit for bf16: {gemm['bf16'] / 1e9:.2g} billion operations a second in products of matrices, and "
        f"{gemm['fp32'] / 1e9:.3g} in fp32."
    )
    return {name: why for name in CHANGES if "bf16" in name}


def check_equal(climbers: Sequence[Climber], batch: int = 2) -> None:
    """Fails each rung whose pictures, a batch of one prompt, are not, within its tolerance, those of the rung that it should equal."""
    there = {climber.rung.name: climber for climber in climbers}
    drawn: dict[str, Tensor] = {}
    for climber in climbers:
        reference = there.get(climber.rung.equals)
        if climber.reason is not None or reference is None or reference.reason is not None:
            continue
        try:
            for one in (reference, climber):
                if one.rung.name not in drawn:
                    drawn[one.rung.name] = one.call(batch)
            climber.difference = float((drawn[climber.rung.name] - drawn[reference.rung.name]).abs().max())
            if climber.difference > climber.rung.tolerance:
                climber.reason = f"A pixel differs by {climber.difference:.2g} from “{climber.rung.equals}”; {climber.rung.tolerance:.2g} was allowed."
        except Exception as error:
            climber.reason = sentence(error)


def clock(climbers: Sequence[Climber], batches: Sequence[int], rounds: int, device: str) -> None:
    """Times all rungs at each batch in interleaved rounds; large batches on a CPU in fewer of them, as they last long.

    What the very first call of a compiled rung takes beyond its second is the price of compiling, without what a compiler has kept on
    disk. Another batch is compiled anew, and that is not in it.
    """
    for batch in batches:
        for climber in climbers:
            if climber.reason is not None:
                continue
            try:
                if any(name in FUSED for name in climber.rung.changes):
                    import torch._inductor.config

                    with torch._inductor.config.patch(force_disable_caches=batch == batches[0]):
                        first, later = (milliseconds(partial(climber.call, batch), device) for _ in range(2))
                    if batch == batches[0]:
                        climber.compile_seconds = max(0.0, first - later) / 1000
                elif device == "cuda" or batch < LARGE:
                    climber.call(batch)  # warm-up
                if batch == batches[0]:
                    climber.peak = peak_bytes(climber, batch, device)
            except Exception as error:
                climber.reason = sentence(error)
        able = {climber.rung.name: climber for climber in climbers if climber.reason is None}
        calls = {name: partial(climber.call, batch) for name, climber in able.items()}
        fewer = min(rounds, 2) if device == "cpu" and batch >= LARGE else rounds
        for name, times in interleaved(calls, fewer, 0, device).items():
            able[name].times[batch] = times
        say(f"timed at batch {batch}")


TOLD = ("times", "peak", "compile_seconds", "difference", "reason")  # of a climber, when clock and comparison are done


def timed(climbers: Sequence[Climber], batches: Sequence[int], rounds: int, device: str) -> list[dict[str, Any]]:
    """Times the rungs and compares their pictures, a batch that is compiled already: what TOLD names, of each."""
    clock(climbers, batches, rounds, device)
    check_equal(climbers, min(batches[-1], AT_ONCE))
    say("their pictures are compared")
    return [{name: getattr(climber, name) for name in TOLD} for climber in climbers]


def same_pictures(climber: Climber) -> bool:
    """Whether its pictures were those of another rung, to less than one step of eight bits: then their quality is the same, too."""
    return climber.difference is not None and climber.difference <= 1 / 255


def peak_bytes(climber: Climber, batch: int, device: str) -> int:
    """Bytes of weights and of most tensors alive at once: as the GPU's memory says, or counted, operator by operator, on a CPU."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        climber.call(batch)
        return torch.cuda.max_memory_allocated()
    assert climber.costs is not None
    parts = (climber.generator.model, climber.generator.autoencoder)
    weights = sum(p.nbytes for part in parts if part is not None for p in part.parameters())
    return weights + climber.costs(batch).peak


# ----------------------------------------------------------------------------------------------------------- rows


def row(
    climber: Climber, start: Climber, fair: Climber, family: str, machine: dict[str, Any], asked: Asked | None
) -> dict[str, Any]:
    """The row of a rung, with all of FIELDS; None where nothing was measured, and then the reason."""
    found: dict[str, Any] = {name: None for name in FIELDS}
    found |= {"family": family, "rung": climber.rung.name, "start": climber.rung.start, "intervals": {}}
    found |= {"steps": climber.steps or climber.rung.steps, "reason": climber.reason}
    if climber.costs is not None:
        costs = climber.costs(1)
        found |= {"evaluations": climber.evaluations, "gflop": costs.operations / 1e9, "mb_moved": costs.bytes / MIB}
        found |= {"kernels": costs.kernels, "largest_difference": climber.difference}
    if climber.reason is not None or not climber.times:
        return found
    assert climber.costs is not None and start.costs is not None
    per_picture = {batch: statistics.median(times) / batch for batch, times in climber.times.items()}
    intervals: dict[str, Sequence[float]] = {
        f"ms_batch{batch}": [v / batch for v in spread(times)[1:]]
        for batch, times in climber.times.items()
        if batch in (1, 32)
    }
    factor, low, high = ratio(start.times[1], climber.times[1])
    fewer = start.costs(1).operations / climber.costs(1).operations
    found |= {
        "ms_batch1": per_picture[1],
        "ms_batch32": per_picture.get(32),
        "images_per_second": 1000 / min(per_picture.values()),
        "peak_mb": climber.peak / MIB,
        "factor": factor,
        "fewer_operations": fewer,
        "faster_operations": factor / fewer,
        "sweep": {str(batch): at_batch(climber, batch, machine) for batch in climber.times},
    }
    intervals["factor"] = (low, high)
    if fair.times:
        middle, low, high = ratio(fair.times[1], climber.times[1])
        found["factor_from_fair"], intervals["factor_from_fair"] = middle, (low, high)
    if climber.compile_seconds:
        saved = (statistics.median(fair.times[1]) - statistics.median(climber.times[1])) / 1000 if fair.times else 0.0
        found |= {
            "compile_seconds": climber.compile_seconds,
            "repaid_after": climber.compile_seconds / saved if saved > 0 else None,
        }
    if climber.quality and start.quality and asked is not None:
        quality = compare(climber.quality, start.quality, asked)
        intervals |= quality.pop("intervals")
        found |= {**quality, "quality_of": climber.quality_of}
    return found | {"intervals": intervals}


def at_batch(climber: Climber, batch: int, machine: dict[str, Any]) -> dict[str, float]:
    """Milliseconds for each picture of a batch, the share of the machine's best operations per second, and the overhead: 1 - roof / measured."""
    assert climber.costs is not None
    costs, measured = climber.costs(batch), statistics.median(climber.times[batch])
    dtype = "bf16" if any("bf16" in name for name in climber.rung.changes) else "fp32"
    own = machine["all threads"] if "all threads" in climber.rung.changes else machine
    return {
        "ms": measured / batch,
        "utilisation": costs.operations / own["gemm"][dtype] * 1e3 / measured,
        "overhead": 1 - roof(costs, own, dtype) / measured,
    }


def climb(
    base: Generator,
    rungs: Sequence[Rung],
    machine: dict[str, Any],
    family: str,
    *,
    batches: Sequence[int] | None = None,
    rounds: int = 5,
    readers: Readers | None = None,
    asked: Asked | None = None,
    skip: Mapping[str, str] | None = None,
    until: float = float("inf"),
    kept: Kept | None = None,
    looked: Kept | None = None,
) -> list[dict[str, Any]]:
    """All rows of a ladder: costs, equality, times, quality; the last as long as the clock (`time.monotonic`) is before `until`.

    machine: what `ceilings` found, and in "all threads" the same with all of them. kept, looked: what an earlier climb has found of times
    and of quality. A rung that draws the pictures of another takes its quality, and says so in `quality_of`.
    """
    device, kept, looked = base.device.type, kept or Kept(), looked or Kept()
    batches = batches or BATCHES[device]
    with threads(1) if device == "cpu" else threads(core_count()):
        climbers = prepare_all(base, rungs, {**emulated(machine), **(skip or {})})
        say(f"{len(climbers)} rungs are prepared")
        found = kept("times", partial(timed, climbers, batches, rounds, device))
        for climber, told in zip(climbers, found, strict=True):
            for name, value in told.items():
                setattr(climber, name, value)
        if readers is not None and asked is not None:
            look_at_all(climbers, asked, readers, until, looked)
    starts = [climber for climber in climbers if climber.rung.start]
    if failed := [f"{c.rung.name}: {c.reason}" for c in starts if c.reason is not None]:
        raise CourseError(f"A ladder needs its start, and it failed. {failed[0]}")
    return [row(climber, starts[0], starts[-1], family, machine, asked) for climber in climbers]


def look_at_all(climbers: Sequence[Climber], asked: Asked, readers: Readers, until: float, looked: Kept) -> None:
    """The quality of all rungs that did not fail, or of as many as there is time for; once of those that draw the same."""
    there = {climber.rung.name: climber for climber in climbers}
    for climber in climbers:
        if climber.reason is not None or time.monotonic() >= until:
            continue
        if same_pictures(climber) and (other := there[climber.rung.equals]).quality:
            climber.quality, climber.quality_of = other.quality, other.quality_of or other.rung.name
            continue
        stage = f"quality of {climber.rung.name}, {climber.steps} steps of {climber.generator.card.get('sha256')}"
        climber.quality = looked(stage, partial(look, climber.draw, asked, readers))
        say(f"{climber.rung.name}: {sum(climber.quality['right'])} of {len(asked.prompts)} right")


def look_only(
    base: Generator, rungs: Sequence[Rung], asked: Asked, readers: Readers, until: float, looked: Kept
) -> bool:
    """The quality alone, of the rungs that have pictures of their own; `climb` adds the times. Returns whether all are done."""
    with threads(1) if base.device.type == "cpu" else threads(core_count()):
        climbers = prepare_all(base, [rung for rung in rungs if not rung.equals])
        look_at_all(climbers, asked, readers, until, looked)
    return all(climber.quality or climber.reason for climber in climbers)


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)
