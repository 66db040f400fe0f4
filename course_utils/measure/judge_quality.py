"""How good is the judge: what it reads of pictures whose scene is known, and what it accepts of pictures that show none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course_utils.measure import malformed
from course_utils.measure.intervals import wilson
from course_utils.measure.judge import Judge
from course_utils.measure.judge_data import NON_SCENES, means, non_scenes
from course_utils.measure.quality import through
from course_utils.worlds.render import render
from course_utils.worlds.scenes import SEEDS, Scene, Scenes, Thing, fitting, scenes

HARD = tuple(
    Thing("small", fill, None, shape)
    for shape, fill in (
        ("star", "solid"),
        ("star", "outlined"),
        ("cross", "solid"),
        ("cross", "outlined"),
        ("heart", "outlined"),
        ("moon", "outlined"),
        ("diamond", "outlined"),
    )
)
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
Change = Callable[[Tensor], Tensor]  # of pictures (N, 3, 32, 32) in [0, 1]


def read_right(judge: Judge, batch: Scenes, change: Change | None = None) -> tuple[list[float], list[bool]]:
    """The judge's certainty on real scenes, and whether it reads each of them exactly; change: what is done to the pictures."""
    images = render(batch)
    readings = judge.read(images if change is None else change(images))
    right = [reading.shows(scene) for reading, scene in zip(readings, batch.scenes, strict=True)]
    return [reading.certainty for reading in readings], right


def measure_judge(
    judge: Judge, n: int = 5_000, change: Change | None = None, test: int = SEEDS["test"]
) -> dict[str, Any]:
    """How the judge reads fresh scenes, or what a change leaves of them: exactly right, by number of things."""
    result: dict[str, Any] = {"pictures": n}
    intervals: dict[str, Any] = {}
    everything: list[bool] = []
    certain: list[float] = []
    for k, name in ((1, "one_object"), (2, "two_objects"), (3, "three_objects")):
        sure, right = read_right(judge, scenes(test, 50_000_000 + k * 1_000_000, n, things=k), change)
        result[name], intervals[name] = sum(right) / n, wilson(sum(right), n)
        everything += right
        certain += sure
    result["exact"], intervals["exact"] = sum(everything) / len(everything), wilson(sum(everything), len(everything))
    result["calibration"] = calibration(certain, everything)
    return {**result, "intervals": intervals}


def measure_kindness(
    judge: Judge, n: int = 1_000, autoencoder: torch.nn.Module | None = None, test: int = SEEDS["test"]
) -> dict[str, Any]:
    """How strict the judge is, in shares of n pictures each.

    hard: of small single things read right; blurred, noisy: of single scenes read right after a Gaussian of so many pixels or
    noise of that standard deviation; after_round_trip: after the autoencoder, which says something about the autoencoder;
    accepted_non_scenes: of pictures without a proper scene, taken for one all the same; accepted_means_of_64: so, too;
    thresholds: the first, the third and the malformed of these, had the judge asked for another certainty.
    """
    free = Judge(judge.network, 0.0)  # it says what it sees, however unsure; who asks for certainty does so below
    share = lambda sure, right, least: sum(c >= least and r for c, r in zip(sure, right, strict=True)) / len(sure)  # noqa: E731
    one = scenes(test, 60_000_000, n, things=1)
    generator = torch.Generator().manual_seed(test)
    found: dict[str, Any] = {}

    def noisy(images: Tensor, sigma: float) -> Tensor:
        return (images + sigma * torch.randn(images.shape, generator=generator)).clamp(0, 1)

    def blurred(images: Tensor, sigma: float) -> Tensor:
        return malformed.blur(images, torch.full((len(images),), sigma))

    hard = {
        f"{t.size} {t.fill} {t.shape}": read_right(free, fitting(Scene((t,)), test + i, n)) for i, t in enumerate(HARD)
    }
    soft = {str(sigma): read_right(free, one, partial(blurred, sigma=sigma)) for sigma in (0.3, 0.6, 0.9)}
    noise = {str(sigma): read_right(free, one, partial(noisy, sigma=sigma)) for sigma in (0.03, 0.06)}
    certain = judge.certain
    for name, rows in (("hard", hard), ("blurred", soft), ("noisy", noise)):
        found[name] = {key: share(*value, certain) for key, value in rows.items()}
    if autoencoder is not None:
        trip = measure_judge(judge, n, lambda x: through(autoencoder, x), test)
        found["after_round_trip"] = {k: v for k, v in trip.items() if k not in ("pictures", "calibration")}
    wrong = {kind: malformed.examples(kind, test, n) for kind in malformed.NAMES}
    wrong |= {kind: non_scenes(kind, test + 17 * k, n) for k, kind in enumerate(NON_SCENES)}
    sure = {kind: [r.certainty for r in free.read(images)] for kind, images in wrong.items()}
    accepted = lambda values, least: sum(c >= least for c in values) / len(values)  # noqa: E731
    kinds = {kind: accepted(values, certain) for kind, values in sure.items()}
    found["accepted_non_scenes"] = {"all": sum(kinds.values()) / len(kinds), **kinds}
    found["accepted_means_of_64"] = accepted([r.certainty for r in free.read(means(test, max(1, n // 5)))], certain)
    sharp = read_right(free, scenes(test, 61_000_000, n))
    found["thresholds"] = [
        {
            "certain": least,
            "sharp": share(*sharp, least),
            "hard": sum(share(*value, least) for value in hard.values()) / len(hard),
            "blurred": share(*soft["0.9"], least),
            "malformed": sum(accepted(sure[kind], least) for kind in malformed.NAMES) / len(malformed.NAMES),
        }
        for least in THRESHOLDS
    ]
    return found


def calibration(
    certainty: Sequence[float], right: Sequence[bool], edges: Sequence[float] = (0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)
) -> list[dict[str, float]]:
    """For each range of certainty: how many readings, their mean certainty, and how many were right."""
    rows = []
    for low, high in pairwise(edges):
        inside = [(c, r) for c, r in zip(certainty, right, strict=True) if low <= c < high or (high == edges[-1] == c)]
        if inside:
            mean, share = (sum(v) / len(inside) for v in zip(*inside, strict=True))
            rows.append({"from": low, "to": high, "readings": len(inside), "certainty": mean, "right": share})
    return rows
