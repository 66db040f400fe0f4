"""What the judge of `emoji_scenes` is trained and tested on: scenes, also slightly damaged, and pictures that are no scenes.

No picture has gone through a trained network. What is wrong is made by the renderer: of one thing a half is missing, or it is
two nouns at once, or smeared, or nearly gone; or the whole is no scene: too many things, two scenes in one, a mean of many.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from course_utils.measure.malformed import blur
from course_utils.measure.sizes import resized
from course_utils.worlds.emoji_scenes.grounds import backgrounds
from course_utils.worlds.emoji_scenes.render import over, render, things
from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, NAMES, UNIT, Scenes, fitting, scenes

PIXELS = 64
# Of each thing that goes wrong: the strengths at which nobody signs it as its noun, and those at which everybody does. They
# were chosen by looking at enlarged sheets.
MALFORMED: dict[str, tuple[tuple[float, float], tuple[float, float] | None]] = {
    "blended": ((0.35, 0.65), (0.0, 0.1)),  # the share of another noun that shines through
    "half": ((-0.3, 0.2), (0.85, 1.1)),  # where it is cut off, in radii
    "chimera": ((-0.25, 0.25), None),  # where another noun begins
    "smeared": ((0.3, 0.55), (0.02, 0.07)),  # the Gaussian's sigma, in radii
    "ghost": ((0.12, 0.35), (0.85, 1.0)),  # its opacity
    "doubled": ((0.5, 0.9), None),  # how far it lies from another that is grown into it, in radii
}
NON_SCENES = ("noise", "blank", "crowd", "blend", "torn")


def labels(batch: Scenes) -> dict[str, Tensor]:
    """What the judge should say of scenes: see `judge_loss`."""
    there = torch.from_numpy(batch.noun >= 0)
    return {
        "valid": torch.ones(len(batch)),
        "centre": torch.from_numpy(np.stack([batch.x, batch.y], -1) / UNIT).float(),
        "sound": torch.where(there, 1.0, -1.0),
        "attributes": torch.from_numpy(np.stack([batch.size, batch.noun], -1)),
        "background": torch.from_numpy(batch.background),
    }


def some(batch: Scenes, keep: NDArray[np.bool_]) -> Scenes:
    """The same scenes with those of their things (N, 3) alone, for `things`."""
    return dataclasses.replace(batch, size=np.where(keep, batch.size, -1))


def spoil(
    batch: Scenes, victim: NDArray[np.int64], kind: str, generator: torch.Generator, mild: bool = False
) -> Tensor:
    """Pictures (N, 3, 64, 64) of scenes in each of which thing number `victim` is malformed, or (mild) harmlessly changed."""
    n = len(batch)
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    rows, here = np.arange(n), np.arange(3) == victim[:, None]
    low, high = MALFORMED[kind][1 if mild else 0] or MALFORMED[kind][0]
    strength, turn = (low + (high - low) * rand(n))[:, None, None], 2 * math.pi * rand(n)
    x, y, radius = (torch.from_numpy(v[rows, victim]).float() / UNIT for v in (batch.x, batch.y, batch.radius))
    alone = some(batch, here)
    step = 1 + (rand(n, 1) * (len(NAMES) - 1)).long().numpy()
    other = dataclasses.replace(alone, noun=(batch.noun + step) % len(NAMES), choice=batch.rotation)
    ink = things(alone, PIXELS)
    if kind in ("half", "chimera"):
        ticks = (torch.arange(PIXELS) + 0.5) / PIXELS
        along = (ticks - x[:, None])[:, None] * turn.cos()[:, None, None]
        along = (along + (ticks - y[:, None])[:, :, None] * turn.sin()[:, None, None]) / radius[:, None, None]
        share = (0.5 + (strength - along) * radius[:, None, None] * PIXELS).clamp(0, 1)[:, None]
        ink = ink * share + (things(other, PIXELS) * (1 - share) if kind == "chimera" else 0)
    elif kind == "blended":
        ink = torch.lerp(ink, things(other, PIXELS), strength[:, None])
    elif kind == "smeared":
        ink = blur(ink, strength[:, 0, 0] * radius * PIXELS)
    elif kind == "ghost":
        ink = ink * strength[:, None]
    else:
        far = strength[:, 0, 0] * radius * UNIT
        same = rand(n, 1).numpy() < 0.5
        moved = {
            name: getattr(batch, name) + (far * way).long().numpy()[:, None]
            for name, way in (("x", turn.cos()), ("y", turn.sin()))
        }
        second = dataclasses.replace(other, noun=np.where(same, batch.noun, other.noun), **moved)
        ink = torch.cat(
            [over(ink[:, :3], two := things(second, PIXELS)), over(ink[:, 3:], two[:, 3:].expand(-1, 4, -1, -1))], 1
        )
    rest = over(backgrounds(batch, PIXELS, "cpu"), things(some(batch, ~here), PIXELS))
    return over(rest, ink).clamp(0, 1)


def examples(kind: str, seed: int, n: int) -> Tensor:
    """n pictures (n, 3, 64, 64) of scenes in each of which one thing is malformed in this way."""
    batch = scenes(seed, 0, n)
    victim = np.arange(n) % batch.count
    return spoil(batch, victim, kind, torch.Generator().manual_seed(seed))


def non_scenes(kind: str, seed: int, n: int) -> Tensor:
    """n pictures (n, 3, 64, 64) in [0, 1] that are no scenes.

    noise: coloured noise of several grains; blank: a background alone; crowd: four or five things; blend: two scenes laid over
    each other; torn: one background here, another there.
    """
    random = torch.Generator().manual_seed(seed)
    uniform = lambda *shape: torch.rand(shape, generator=random)  # noqa: E731
    base = scenes(seed, 0, n)
    if kind == "noise":
        grains = [
            F.interpolate(uniform(n, 3, g, g), PIXELS, mode=m)
            for g, m in ((64, "nearest"), (12, "nearest"), (8, "bicubic"))
        ]
        share = uniform(3, n, 1, 1, 1).softmax(0)
        return (0.5 + sum(s * (g - 0.5) for s, g in zip(share, grains, strict=True)) * 2).clamp(0, 1)
    if kind == "blank":
        return backgrounds(base, PIXELS, "cpu")
    if kind == "crowd":
        two, more = scenes(seed, 0, 4 * n, things=2), scenes(seed + 1, 0, 4 * n, things=3)
        gaps = [(v[:, :2, None] - w[:, None]) ** 2 for v, w in ((two.x, more.x), (two.y, more.y))]
        seen = np.argsort(-(gaps[0] + gaps[1])[:, :, :2].min((1, 2)), kind="stable")[
            :n
        ]  # those where no thing hides another
        more = some(more, (np.arange(3) < 2 + np.arange(4 * n)[:, None] % 2)).select(seen)
        return over(render(two.select(seen), PIXELS), things(more, PIXELS)).clamp(0, 1)
    if kind == "blend":
        share = (0.3 + 0.4 * uniform(n))[:, None, None, None]
        return torch.lerp(render(base, PIXELS), render(scenes(seed + 2, 0, n), PIXELS), share)
    if kind == "torn":
        steps = 1 + torch.randint(0, len(BACKGROUNDS) - 1, (n,), generator=random).numpy()
        second = dataclasses.replace(base, background=(base.background + steps) % len(BACKGROUNDS))
        ticks = (torch.arange(PIXELS) + 0.5) / PIXELS - 0.5
        angle, off = 2 * math.pi * uniform(n)[:, None, None], 0.4 * uniform(n)[:, None, None] - 0.2
        beyond = ticks[None, None, :] * angle.cos() + ticks[None, :, None] * angle.sin() - off
        share = (0.5 + beyond * (4 + 28 * uniform(n)[:, None, None])).clamp(0, 1)[:, None]
        return torch.lerp(render(base, PIXELS), render(second, PIXELS), share)
    raise ValueError(f"{kind!r} is not one of {', '.join(NON_SCENES)}.")


def means(seed: int, captions: int, sizes: tuple[int, ...] = (64,)) -> Tensor:
    """Means of the first k of max(sizes) scenes that fit one full caption, for each k: (captions * len(sizes), 3, 64, 64)."""
    found = []
    for i, scene in enumerate(scenes(seed, 0, captions).scenes):
        images = render(fitting(scene, seed * 1_000_003 + i, max(sizes)), PIXELS)
        found += [images[:k].mean(0) for k in sizes]
    return torch.stack(found)


def damage(images: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the pictures as they are, the others a little blurred, shifted, lighter or darker, paler, noisy.

    The Gaussian has a sigma of at most 1.2 pixels, the shift is less than one: a person still reads small things. A quarter of these
    have only half as many pixels a side first, for generators that draw so.
    """
    n, side = len(images), images.shape[-1]
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    changed = (rand(n, 1, 1, 1) < 2 / 3).float()
    coarser = (rand(n, 1, 1, 1) < 1 / 4).float()
    out = torch.lerp(blur(images, 1.2 * rand(n)), resized(resized(images, side // 2), side), coarser)
    for axis in (2, 3):
        out = torch.lerp(out, out.roll(1, axis), rand(n, 1, 1, 1) * (rand(n, 1, 1, 1) < 0.5))
    out = 0.5 + (out - 0.5) * (0.88 + 0.16 * rand(n, 1, 1, 1)) + 0.06 * (rand(n, 1, 1, 1) - 0.5)
    fine, coarse = rand(n, 3, side, side) - 0.5, F.interpolate(rand(n, 3, 10, 10) - 0.5, side, mode="bilinear")
    out = out + 0.1 * rand(n, 1, 1, 1) * fine + 0.12 * rand(n, 1, 1, 1) * coarse
    return torch.lerp(images, out.clamp(0, 1), changed)


@dataclass(frozen=True)
class JudgeData:
    """Batches for `judge_loss`: about half are scenes, a third have one malformed thing, a sixth are no scenes.

    All are also damaged, so that no damage gives away which they are. A function of the position alone.
    """

    seed: int

    def __call__(self, position: int, n: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 0x9E3779B1 + position)
        extra = max(3, n // 6)
        batch = scenes(self.seed, position, n - extra)
        found = labels(batch)
        images = torch.empty(n, 3, PIXELS, PIXELS)
        # Of seven scenes three have a malformed thing, two a harmless change, two none.
        turn = np.arange(len(batch)) % 7
        kinds, victim = (torch.rand(2, len(batch), generator=generator) * torch.tensor([[60], [6]])).long().numpy()
        victim = victim % batch.count
        for j, kind in enumerate(MALFORMED):
            for mild in (False, True):
                rows = np.flatnonzero(((turn >= 3 if mild else turn < 3) & (turn < 5)) & (kinds % len(MALFORMED) == j))
                if len(rows) and not (mild and MALFORMED[kind][1] is None):
                    images[rows] = spoil(batch.select(rows), victim[rows], kind, generator, mild)
                    if not mild:
                        found["valid"][rows], found["sound"][rows, victim[rows]] = -1.0, 0.0
                        found["attributes"][rows, victim[rows]] = -1
                elif len(rows):
                    images[rows] = render(batch.select(rows), PIXELS)
        images[: len(batch)][turn >= 5] = render(batch.select(turn >= 5), PIXELS)
        own = self.seed * 7_919 + position + 1
        order = [NON_SCENES[(position + k) % len(NON_SCENES)] for k in range(extra - 2)]
        wrong = [non_scenes(kind, own * 13 + k, order.count(kind)) for k, kind in enumerate(dict.fromkeys(order))]
        images[len(batch) :] = torch.cat([*wrong, means(own, 1, (2 + position % 3, 16))])
        none = {
            "valid": torch.zeros(extra),
            "centre": torch.zeros(extra, 3, 2),
            "sound": torch.full((extra, 3), -1.0),
            "attributes": torch.full((extra, 3, 2), -1),
            "background": torch.zeros(extra, dtype=torch.long),
        }
        return {"images": damage(images, generator), **{key: torch.cat([found[key], none[key]]) for key in none}}
