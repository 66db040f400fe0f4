"""The second ladder: how long a training takes until its pictures show what was asked, and what makes that shorter.

**The clock** counts images to the target times seconds for an image. It stops at the first of two exams running in which judge A
reads the target's share of the fixed prompts right, in pictures drawn with the averaged weights; between the exam before and that one
we go along a straight line. What an image costs is measured apart, all rungs in turns, on a CPU in seconds that a core spent on it
(`measure.timing`), so that a busy machine cannot tip the scales. Exams are not on the clock, and neither is making the data; compiling is.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor, nn

from course_utils.measure.timing import core_milliseconds, interleaved, ratio
from course_utils.models.dit import DiT
from course_utils.speed.caption_task import Course
from course_utils.speed.faster_training import (
    Times,
    alignment_loss,
    listening,
    logit_normal,
    muon,
    projector,
    routed,
    stored_in_bf16,
    uniform,
    velocity_error,
)
from course_utils.speed.table import cell
from course_utils.training import State, TrainConfig, train

COURSE_TIMES = logit_normal(-0.8, 1.2)  # as `models.dit.flow_loss`
ALIGNMENT = 0.5  # λ of REPA (Yu et al. 2025)
ROUTED = 0.5  # share of the patches that skip the middle (Krause et al. 2025)
# two-sided 95 % points of Student's t for so many seeds
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}

Curve = list[tuple[int, float]]  # images seen, share right


@dataclass(frozen=True)
class Candidate:
    """One change of the start. What is 1.0 multiplies the task's own number."""

    name: str
    about: str
    times: Times = COURSE_TIMES
    batch: float = 1.0  # the learning rate goes with its square root (Malladi et al. 2022, for Adam)
    rate: float = 1.0
    ema: float = 1.0
    optimiser_of: Callable[[nn.Module, TrainConfig], torch.optim.Optimizer] | None = None
    align: bool = False
    route: bool = False
    captions: str = "detailed"
    compile: bool = False
    precision: str = "fp32"
    fresh: bool = False

    @property
    def only_price(self) -> bool:
        """Whether it learns what the start learns, at another price."""
        return self.compile or self.fresh or self.precision != "fp32"

    @property
    def same_price(self) -> bool:
        """Whether it computes what the start computes, with other numbers: an image then costs the same, and nothing needs to be measured."""
        return self == replace(
            RUNGS[0], name=self.name, about=self.about, times=self.times, rate=self.rate, ema=self.ema
        )


RUNGS = (
    Candidate("start", "AdamW, times logit-normal(-0.8, 1.2), detailed captions, data kept in memory, all in fp32"),
    Candidate("REPA", "a middle block aligned with the course's self-supervised features (Yu et al. 2025)", align=True),
    Candidate("Muon", "orthogonal steps for the matrices of the blocks (Jordan et al. 2024)", optimiser_of=muon),
    Candidate("TREAD", "half of the patches skip the middle blocks (Krause et al. 2025)", route=True),
    Candidate("half the batch", "learning rate / √2 (Malladi et al. 2022)", batch=0.5),
    Candidate("twice the batch", "learning rate x √2 (Malladi et al. 2022)", batch=2.0),
    Candidate("uniform times", "all noise levels equally often (Lipman et al. 2023)", times=uniform),
    Candidate("centred times", "logit-normal(0, 1) (Esser et al. 2024)", times=logit_normal(0.0, 1.0)),
    Candidate(
        "short captions", "what a detailed caption says beside the shape is each said in half of them", captions="short"
    ),
    Candidate("weights in bf16", "weights rounded to bf16 after each step, no fp32 copy", optimiser_of=stored_in_bf16),
    Candidate("no average", "the exam reads the weights as they are", ema=0.0),
    Candidate("twice the learning rate", "the control: what a better number would buy", rate=2.0),
    Candidate("compile", "torch.compile of the loss; its own time is on the clock", compile=True),
    Candidate("products in bf16", "torch.autocast", precision="bf16"),
    Candidate("data made in each step", "drawn and encoded when they are needed", fresh=True),
)
LEFT_OUT = {
    "a longer average": "the loop holds the half-life at a tenth of the images seen, and in a short race that is less than the start's own: it would be the same run",
    "several changes together": "they would be chosen by these results, and need seeds that had no part in the choice",
    "Self-Flow": "it gives the patches of one picture two noise levels (Chefer et al. 2026), and the model of this course takes one time for a whole picture",
}


class Reached(Exception):
    """Ends a training whose clock has stopped."""


def images_to(curve: Curve, target: float) -> float | None:
    """Images after which the share reached the target and was there at the next exam too; None if it did not.

    On the straight line between the last exam below (0 at the start) and the first of the two above.
    """
    for (a, low), (b, high), (_, later) in zip([(0, 0.0), *curve], curve, curve[1:], strict=False):
        if high >= target and later >= target:
            return a + (b - a) * (target - low) / (high - low)
    return None


def network_of(course: Course, rung: Candidate, seed: int) -> nn.ModuleDict:
    """What is trained: the generator, and the projector of REPA where there is one."""
    parts = nn.ModuleDict({"dit": course.network(seed)})
    if rung.align:
        parts["project"] = projector(course.task.width, course.maps.shape[2])
    return parts


def loss_of(course: Course, rung: Candidate) -> Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]]:
    """The loss of a rung, for `train`."""
    middle = course.task.depth // 2 - 1

    def loss(parts: nn.ModuleDict, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        dit: DiT = parts["dit"]  # type: ignore[assignment]
        with contextlib.ExitStack() as stack:
            if rung.route:
                stack.enter_context(routed(dit.blocks, ROUTED, 1, course.task.depth - 2))
            heard = stack.enter_context(listening(dit.blocks[middle])) if rung.align else []
            error = velocity_error(dit, batch, rung.times)
        if not rung.align:
            return error, {}
        apart = alignment_loss(parts["project"](heard[0]), course.maps[batch["rows"]])
        return error + ALIGNMENT * apart, {"velocity": error, "apart": apart}

    return loss  # type: ignore[return-value]


def batches_of(course: Course, rung: Candidate) -> Callable[[int, int, torch.Generator], dict[str, Tensor]]:
    """The batches of a rung, for `train`."""

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(course.latents), (n,), generator=generator, device=generator.device)
        batch = course.batch(rows, generator, rung.captions)
        if rung.fresh:
            batch["data"] = course.encoded(course.scenes.select(rows.cpu().numpy()))
        return batch

    return batches


def config_of(course: Course, rung: Candidate, seed: int, images: int) -> TrainConfig:
    """How a rung is trained. The learning rate does not fall, so that nothing depends on when a run would have ended."""
    task = course.task
    return TrainConfig(
        images=images,
        batch_size=round(task.batch_size * rung.batch),
        learning_rate=task.learning_rate * rung.rate * math.sqrt(rung.batch),
        warmup_images=task.warmup_images,
        decay="constant",
        ema_half_life_images=max(1, round(task.ema_half_life_images * rung.ema)),
        precision=rung.precision,  # type: ignore[arg-type]
        compile=rung.compile,
        device=str(course.device),
        seed=seed,
        log_every_images=task.every,
    )


def run(course: Course, rung: Candidate, seed: int) -> dict[str, Any]:
    """Trains one rung with one seed until its clock stops, or the task's images are used up."""
    curve: Curve = []
    sure: list[float] = []
    target = course.task.target

    class Exam:
        every_images = 0

        def __call__(self, state: State) -> dict[str, float]:
            right, certain = course.accuracy(course.draw(state.ema_model["dit"]))  # type: ignore[index]
            curve.append((state.images, right))
            sure.append(certain)
            if images_to(curve, target) is not None:
                raise Reached
            return {"right": right}

    with contextlib.suppress(Reached):
        train(
            network_of(course, rung, seed),
            loss_of(course, rung),
            batches_of(course, rung),
            config_of(course, rung, seed, course.task.most),
            callbacks=[Exam()],
            optimiser_of=rung.optimiser_of,
        )
    return {"rung": rung.name, "seed": seed, "images": images_to(curve, target), "curve": curve, "sure": sure}


# ------------------------------------------------------------------------------------------------------- seconds


def prices(course: Course, rungs: Sequence[Candidate], rounds: int, images: int) -> dict[str, dict[str, Any]]:
    """What an image costs in each rung: seconds, and how many times those of the first rung (median over the rounds, and its interval).

    Each call trains on so many images by the course's own loop. What a first call takes beyond a later one is its time to compile. A rung
    that fails has a `reason` instead; those of the same price are left out.
    """
    if course.device.type == "cpu":  # by processes that are waited for, so that their seconds count
        torch._inductor.config.compile_threads = 1
    calls: dict[str, Callable[[], object]] = {}
    found: dict[str, dict[str, Any]] = {}
    for rung in (rungs[0], *(rung for rung in rungs if not rung.same_price)):
        call = partial(
            train,
            network_of(course, rung, 0),
            loss_of(course, rung),
            batches_of(course, rung),
            config_of(course, rung, 0, images),
            optimiser_of=rung.optimiser_of,
        )
        try:
            first, later = (core_milliseconds(call, course.device) for _ in range(2))
            calls[rung.name] = call
            found[rung.name] = {"compile_seconds": max(0.0, first - later) / 1000 if rung.compile else 0.0}
        except Exception as error:
            found[rung.name] = {"reason": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    times = interleaved(calls, rounds, 0, course.device, core_milliseconds)
    start = times[rungs[0].name]
    for name, series in times.items():
        cost, low, high = ratio(series, start)
        seconds = cost * statistics.median(start) / 1000 / images
        found[name] |= {"seconds": seconds, "cost": cost, "interval": [low, high]}
    return found


# ------------------------------------------------------------------------------------------------------- the table


def factor(
    start: Mapping[int, float], other: Mapping[int, float], cost: float
) -> tuple[float, tuple[float, float] | None]:
    """How many times as fast as the start, and a 95 % interval over seeds; both: seed -> images to the target.

    exp of the mean over shared seeds of log(start / other), divided by the cost of an image; the interval by Student's t, for two
    seeds or more. How well the cost is known is told apart.
    """
    logs = [math.log(start[seed] / other[seed]) for seed in sorted(start.keys() & other.keys())]
    mean = statistics.fmean(logs)
    if len(logs) not in STUDENT:
        return math.exp(mean) / cost, None
    half = STUDENT[len(logs)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean) / cost, (math.exp(mean - half) / cost, math.exp(mean + half) / cost)


def rows_of(
    rungs: Sequence[Candidate], runs: Sequence[Mapping[str, Any]], price: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each rung, those that were not run and those that never reached the target with their reason.

    seeds, images: those of its runs, images None where the target was not reached; last, sure: the shares right at the last exam, and right with the judge sure of it; seconds_per_image;
    cost: of an image, as a multiple of the start's; minutes: on the clock, for the geometric mean of the seeds; factor: against the
    same seeds of the start, where all of them reached the target.
    """
    there = {(run["rung"], run["seed"]): run for run in runs}
    first = rungs[0].name
    start = {seed: run["images"] for (name, seed), run in there.items() if name == first and run["images"]}
    rows = []
    for rung in rungs:
        known = price.get(first if rung.same_price else rung.name, {})
        learns = first if rung.only_price else rung.name
        mine = [run for (name, _), run in sorted(there.items()) if name == learns]
        row: dict[str, Any] = {
            "rung": rung.name,
            "about": rung.about,
            "learns": "as the start" if rung.only_price else "by itself",
            "seeds": [run["seed"] for run in mine],
            "images": [run["images"] for run in mine],
            "last": [run["curve"][-1][1] for run in mine],
            "sure": [run["sure"][-1] for run in mine],
            "seconds_per_image": known.get("seconds"),
            "cost": known.get("cost"),
            "compile_seconds": known.get("compile_seconds", 0.0),
            "minutes": None,
            "factor": None,
            "intervals": {} if rung.same_price or "interval" not in known else {"cost": known["interval"]},
            "reason": known.get("reason"),
        }
        rows.append(row)
        missed = [run for run in mine if run["images"] is None]
        if not mine:
            row["reason"] = row["reason"] or "not run yet"
        elif missed:
            most = max(run["curve"][-1][0] for run in missed)
            row["reason"] = f"{len(missed)} of {len(mine)} did not reach the target within {most:,} images"
        elif row["cost"] is not None:
            images = {run["seed"]: run["images"] for run in mine}
            computing = math.exp(statistics.fmean(map(math.log, images.values()))) * row["seconds_per_image"]
            row["minutes"] = (computing + row["compile_seconds"]) / 60
            if rung is not rungs[0] and start.keys() & images.keys():
                whole = row["cost"] * (1 + row["compile_seconds"] / computing)
                row["factor"], interval = factor(start, images, whole)
                if interval is not None and not rung.only_price:
                    row["intervals"]["factor"] = interval
    return rows


def images_by_seed(row: Mapping[str, Any]) -> str:
    """Images to the target of each seed; a dash where it was not reached."""
    if row["learns"] != "by itself":
        return row["learns"]
    return ", ".join("–" if n is None else f"{n:,.0f}" for n in row["images"]) or "–"


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "rung": lambda row: row["rung"],
    "images to the target, by seed": images_by_seed,
    "ms for an image": cell("seconds_per_image", ".1f", 1000),
    "cost of an image": cell("cost", ".2f"),
    "minutes": cell("minutes", ".2f"),
    "factor": cell("factor", ".2f"),
}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The ladder as a table of Markdown, made from the rows, never typed; then a line for each rung without a time."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join(['---'] * len(COLUMNS))} |"]
    lines += [f"| {' | '.join(shown(row) for shown in COLUMNS.values())} |" for row in rows]
    notes = [f"- {row['rung']}: {row['reason']}" for row in rows if row["reason"]]
    return "\n".join([*lines, *(["", *notes] if notes else [])])
