"""What the judge is trained and tested on: scenes, also slightly damaged, and pictures that are no scenes.

No picture has gone through a trained network: a judge that has seen what a generator's autoencoder leaves of a star would
call just that a star.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.counters import batch_seed
from course_utils.measure.malformed import blur, draw, plan
from course_utils.worlds.render import render
from course_utils.worlds.scenes import BACKGROUNDS, FILLS, SHAPES, SIZES, UNIT, Scenes, fitting, scenes

NON_SCENES = ("noise", "blank", "crowd", "overlap", "blend", "torn")
_TURNS = (*2 * ("noise", "torn"), "blank", *3 * ("torn", "overlap", "crowd", "blend"))  # how often each comes


def labels(batch: Scenes, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """What the judge should say of scenes: see `judge_loss`."""
    on = lambda array: torch.from_numpy(np.ascontiguousarray(array)).to(device)  # noqa: E731
    return {
        "valid": torch.ones(len(batch), device=device),
        "centre": on(np.stack([batch.x, batch.y], -1) / UNIT).float(),
        "sound": on(np.where(batch.shape >= 0, 1.0, -1.0)).float(),
        "attributes": on(np.stack([batch.size, batch.fill, batch.colour, batch.shape], -1)),
        "background": on(batch.background),
    }


def non_scenes(kind: str, seed: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """n pictures (n, 3, 32, 32) in [0, 1] that are no scenes.

    noise: coloured noise of several grains; blank: a background alone; crowd: four or five objects, some partly over one
    another; overlap: one of two objects partly over the other; blend: two scenes laid over each other; torn: one background
    here, another there. Objects that are malformed themselves come from `malformed`.
    """
    random = torch.Generator().manual_seed(seed)
    uniform = lambda *shape: torch.rand(shape, generator=random).to(device)  # noqa: E731
    base = scenes(seed, 0, n)
    if kind == "noise":
        grains = [
            F.interpolate(uniform(n, 3, g, g), 32, mode=m) for g, m in ((32, "nearest"), (8, "nearest"), (6, "bicubic"))
        ]
        share = uniform(3, n, 1, 1, 1).softmax(0)
        return (0.5 + (sum(s * (g - 0.5) for s, g in zip(share, grains, strict=True))) * 2).clamp(0, 1)
    if kind == "blank":
        return render(dataclasses.replace(base, count=np.zeros_like(base.count)), device=device)
    if kind == "crowd":
        two, more = scenes(seed, 0, 4 * n, things=2), scenes(seed + 1, 0, 4 * n, things=3)
        names = ("size", "fill", "colour", "shape", "x", "y", "radius", "rotation", "stripes", "shade")
        joined = {name: np.concatenate([getattr(two, name)[:, :2], getattr(more, name)], 1) for name in names}
        dx, dy = (joined[k][:, :, None] - joined[k][:, None] for k in ("x", "y"))
        hidden = (dx**2 + dy**2 + np.eye(5) * UNIT**2).min((1, 2)) < (0.17 * UNIT) ** 2
        seen = np.argsort(hidden, kind="stable")[:n]  # first those where no object hides another
        count = 4 + np.arange(4 * n) % 2
        return render(dataclasses.replace(two, count=count, **joined).select(seen), device=device)
    if kind == "overlap":
        two = scenes(seed, 0, n, things=2)
        turn, far = (torch.rand(n, generator=random).numpy() for _ in range(2))
        apart = (0.5 + 0.25 * far) * two.radius[:, :2].sum(1)
        x, y = two.x.copy(), two.y.copy()
        for out, along in ((x, np.cos(2 * math.pi * turn)), (y, np.sin(2 * math.pi * turn))):
            out[:, 1] = out[:, 0] + (apart * along).astype(np.int64)
        return render(dataclasses.replace(two, x=x, y=y), device=device)
    if kind == "blend":
        share = (0.3 + 0.4 * uniform(n))[:, None, None, None]
        return torch.lerp(render(base, device=device), render(scenes(seed + 2, 0, n), device=device), share)
    if kind == "torn":
        steps = 1 + torch.randint(0, len(BACKGROUNDS) - 1, (n,), generator=random).numpy()
        second = dataclasses.replace(base, background=(base.background + steps) % len(BACKGROUNDS))
        ticks = (torch.arange(32, device=device) + 0.5) / 32 - 0.5
        angle, off = 2 * math.pi * uniform(n)[:, None, None], 0.4 * uniform(n)[:, None, None] - 0.2
        beyond = ticks[None, None, :] * angle.cos() + ticks[None, :, None] * angle.sin() - off
        share = (0.5 + beyond * (4 + 28 * uniform(n)[:, None, None])).clamp(0, 1)[:, None]
        return torch.lerp(render(base, device=device), render(second, device=device), share)
    raise ValueError(f"{kind!r} is not one of {', '.join(NON_SCENES)}.")


def means(seed: int, captions: int, sizes: tuple[int, ...] = (64,), device: torch.device | str = "cpu") -> Tensor:
    """Means of the first k of max(sizes) scenes that fit one full caption, for each k: (captions * len(sizes), 3, 32, 32)."""
    found = []
    asked = scenes(seed, 0, captions).scenes
    for i, scene in enumerate(asked):
        images = render(fitting(scene, seed * 1_000_003 + i, max(sizes)), device=device)
        found += [images[:k].mean(0) for k in sizes]
    return torch.stack(found)


def damage(images: Tensor, generator: torch.Generator) -> Tensor:
    """A third of the pictures as they are, the others a little blurred, lighter or darker, paler, noisy.

    The Gaussian has a sigma of at most 0.9 pixels: beyond, a person no longer reads small stars.
    """
    n = len(images)
    rand = lambda *shape: torch.rand(*shape, generator=generator, device=generator.device).to(images.device)  # noqa: E731
    changed = (rand(n, 1, 1, 1) < 2 / 3).float()
    out = blur(images, 0.9 * rand(n))
    out = 0.5 + (out - 0.5) * (0.88 + 0.16 * rand(n, 1, 1, 1)) + 0.06 * (rand(n, 1, 1, 1) - 0.5)
    fine, coarse = rand(n, 3, 32, 32) - 0.5, F.interpolate(rand(n, 3, 10, 10) - 0.5, 32, mode="bilinear")
    out = out + 0.1 * rand(n, 1, 1, 1) * fine + 0.12 * rand(n, 1, 1, 1) * coarse
    return torch.lerp(images, out.clamp(0, 1), changed)


def hard_scenes(seed: int, position: int, n: int) -> Scenes:
    """n scenes, the first half of them as they come, the others those of three times as many with most that is hard to read:
    small things that are outlined or of a shape with details."""
    batch = scenes(seed, 2 * position, 2 * n)
    detailed = np.isin(batch.shape, [SHAPES.index(name) for name in ("star", "cross", "heart", "moon", "diamond")])
    hard = (batch.size == SIZES.index("small")) & (detailed | (batch.fill == FILLS.index("outlined")))
    half = n - n // 2
    order = np.argsort(-hard[half:].sum(1) / batch.count[half:], kind="stable")
    return batch.select(np.concatenate([np.arange(half), half + order[: n // 2]]))


@dataclass(frozen=True)
class JudgeData:
    """Batches for `judge_loss`: a third are scenes, half have one malformed object, a sixth are no scenes.

    All are also damaged, so that no damage gives away which they are. A function of the position alone, on the CPU: it is many small
    steps, which worker processes make while a GPU learns.
    """

    seed: int

    def __call__(self, position: int, n: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(batch_seed(self.seed, position))
        extra = max(3, n // 6)
        batch = hard_scenes(self.seed, position, n - extra)
        malformed = np.arange(len(batch)) % 7 >= 3  # mixed, as the second half is harder
        changes = plan(batch, malformed, generator)
        found = labels(batch)
        victim = torch.from_numpy(changes.wrong)
        found["valid"] = torch.where(victim.any(1), -1.0, 1.0)
        found["sound"] = torch.where(victim, 0.0, found["sound"])
        found["attributes"] = torch.where(victim[:, :, None], -1, found["attributes"])
        own = self.seed * 7_919 + position + 1
        kinds = sorted(_TURNS[(position + k) % len(_TURNS)] for k in range(extra - 3))
        wrong = [non_scenes(kind, own * 13 + k, kinds.count(kind)) for k, kind in enumerate(dict.fromkeys(kinds))]
        wrong.append(means(own, 1, (2, 4, 16)))
        none = {
            "valid": torch.zeros(extra),
            "centre": torch.zeros(extra, 3, 2),
            "sound": torch.full((extra, 3), -1.0),
            "attributes": torch.full((extra, 3, 4), -1),
            "background": torch.zeros(extra, dtype=torch.long),
        }
        images = damage(torch.cat([draw(batch, changes), *wrong]), generator)
        return {"images": images, **{key: torch.cat([found[key], none[key]]) for key in none}}
