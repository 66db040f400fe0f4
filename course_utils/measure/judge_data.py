"""What the judge is trained and tested on: scenes, also blurred and after a round trip, and pictures that are no scenes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.worlds.render import render
from course_utils.worlds.scenes import UNIT, Scenes, fitting, scenes

RoundTrip = Callable[[Tensor], Tensor]  # pictures in [0, 1] to pictures in [0, 1]
NON_SCENES = ("noise", "blank", "half", "crowd", "blend")


def labels(batch: Scenes, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """What the judge should say of scenes: see `judge_loss`."""
    on = lambda array: torch.from_numpy(np.ascontiguousarray(array)).to(device)  # noqa: E731
    return {
        "valid": torch.ones(len(batch), device=device),
        "centre": on(np.stack([batch.x, batch.y], -1) / UNIT).float(),
        "attributes": on(np.stack([batch.size, batch.fill, batch.colour, batch.shape], -1)),
        "background": on(batch.background),
    }


def non_scenes(kind: str, seed: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """n pictures (n, 3, 32, 32) in [0, 1] that are no scenes.

    noise: coloured noise of several grains; blank: a background alone; half: one object cut in half; crowd: four or
    five objects, some partly over one another; blend: two scenes laid over each other.
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
    if kind == "half":
        which = np.arange(n) % base.count
        rows = np.arange(n)
        outside = base.x.copy()
        outside[rows, which] = -2 * UNIT
        whole, without = render(base, device=device), render(dataclasses.replace(base, x=outside), device=device)
        ticks = (torch.arange(32, device=device) + 0.5) / 32
        x, y = (torch.from_numpy(v[rows, which] / UNIT).float().to(device)[:, None, None] for v in (base.x, base.y))
        angle = 2 * math.pi * uniform(n)[:, None, None]
        off = (0.2 * uniform(n)[:, None, None] - 0.1) * 0.2
        side = (ticks[None, None, :] - x) * angle.cos() + (ticks[None, :, None] - y) * angle.sin() > off
        near = ((ticks[None, None, :] - x) ** 2 + (ticks[None, :, None] - y) ** 2).sqrt() < torch.from_numpy(
            base.radius[rows, which] / UNIT + 0.04
        ).float().to(device)[:, None, None]
        return torch.where((side & near)[:, None], without, whole)
    if kind == "crowd":
        two, more = scenes(seed, 0, 4 * n, things=2), scenes(seed + 1, 0, 4 * n, things=3)
        names = ("size", "fill", "colour", "shape", "x", "y", "radius", "rotation", "stripes", "shade")
        joined = {name: np.concatenate([getattr(two, name)[:, :2], getattr(more, name)], 1) for name in names}
        dx, dy = (joined[k][:, :, None] - joined[k][:, None] for k in ("x", "y"))
        hidden = (dx**2 + dy**2 + np.eye(5) * UNIT**2).min((1, 2)) < (0.17 * UNIT) ** 2
        seen = np.argsort(hidden, kind="stable")[:n]  # first those where no object hides another
        count = 4 + np.arange(4 * n) % 2
        return render(dataclasses.replace(two, count=count, **joined).select(seen), device=device)
    if kind == "blend":
        share = (0.3 + 0.4 * uniform(n))[:, None, None, None]
        return torch.lerp(render(base, device=device), render(scenes(seed + 2, 0, n), device=device), share)
    raise ValueError(f"{kind!r} is not one of {', '.join(NON_SCENES)}.")


def means(seed: int, captions: int, sizes: tuple[int, ...] = (64,), device: torch.device | str = "cpu") -> Tensor:
    """Means of the first k of max(sizes) scenes that fit one full caption, for each k: (captions * len(sizes), 3, 32, 32)."""
    found = []
    asked = scenes(seed, 0, captions).scenes
    for i, scene in enumerate(asked):
        images = render(fitting(scene, seed * 1_000_003 + i, max(sizes)), device=device)
        found += [images[:k].mean(0) for k in sizes]
    return torch.stack(found)


def damage(images: Tensor, generator: torch.Generator, round_trip: RoundTrip | None) -> Tensor:
    """A quarter of the pictures as they are, half after the round trip, a quarter slightly blurred, rescaled or noisy."""
    n = len(images)
    order = torch.randperm(n, generator=generator, device=generator.device).to(images.device)
    out = images.clone()
    a, b = order[: n // 2], order[n // 2 : 3 * n // 4]
    if round_trip is not None and len(a):
        out[a] = round_trip(images[a])
    if len(b):
        x = images[b]
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
        rand = torch.rand(4, len(b), 1, 1, 1, generator=generator, device=generator.device).to(images.device)
        x = torch.lerp(x, blurred, 0.6 * rand[0])
        x = x * (0.92 + 0.16 * rand[1]) + (rand[2] - 0.5) * 0.06
        noise = torch.randn(x.shape, generator=generator, device=generator.device).to(images.device)
        out[b] = (x + 0.05 * rand[3] * noise).clamp(0, 1)
    return out


def judge_batches(
    seed: int, round_trip: RoundTrip | None = None
) -> Callable[[int, int, torch.Generator], dict[str, Tensor]]:
    """Batches for `judge_loss`: three quarters scenes, one quarter pictures that are none, all of them also damaged.

    Halves, which are hardest to tell from whole objects, are as many as two other kinds of pictures that are none.
    """

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        device = generator.device
        bad = n // 4
        batch = scenes(seed, position, n - bad)
        found = labels(batch, device)
        own = seed * 7_919 + position + 1
        each = bad // 8
        wrong = [
            non_scenes(kind, own * 13 + k, each * (2 if kind == "half" else 1), device)
            for k, kind in enumerate(NON_SCENES)
        ]
        wrong.append(means(own, max(1, (bad - 6 * each) // 4), (2, 4, 8, 16), device))
        wrong_images = torch.cat(wrong)
        images = torch.cat([render(batch, device=device), wrong_images])
        images = damage(images, generator, round_trip)
        extra = len(wrong_images)
        pad = {
            "valid": torch.zeros(extra, device=device),
            "centre": torch.zeros(extra, 3, 2, device=device),
            "attributes": torch.full((extra, 3, 4), -1, device=device),
            "background": torch.zeros(extra, dtype=torch.long, device=device),
        }
        return {"images": images, **{key: torch.cat([found[key], pad[key]]) for key in pad}}

    return batches
