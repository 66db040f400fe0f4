"""Malformed objects: what generators draw when they miss, made by the renderer, for a judge to refuse.

Each kind of change has a strength. Where a person still signs the object as what it should be the change is harmless, where
nobody does it is wrong; between the two ranges people differ, and nothing is drawn. The ranges were chosen by looking at
enlarged sheets. No trained network takes part in this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from course_utils.measure.blends import SHARES, nameless
from course_utils.worlds.render import Layer, colours, render
from course_utils.worlds.scenes import COLOURS, FILLS, SHAPES, SIZES, Scenes, scenes

DRAWS = 8
Change = Callable[
    [Layer, Tensor, Tensor], None
]  # with strengths (M, 1, 1) and DRAWS random numbers (8, M, 1, 1) in [0, 1]
# With which other colour each colour mixes to one that has no name: red and green to brown, blue and yellow to grey.
_MUDDY = [COLOURS.index(name) for name in ("green", "green", "blue", "red", "orange", "yellow", "green", "green")]


@dataclass(frozen=True)
class Kind:
    """A change, its two ranges of strength (None where no strength is harmless), and which fills, shapes and sizes it suits."""

    change: Change
    wrong: tuple[float, float]
    harmless: tuple[float, float] | None = None
    fills: Sequence[str] = FILLS
    shapes: Sequence[str] = SHAPES
    sizes: Sequence[str] = SIZES
    weight: float = 1.0

    def suits(self, batch: Scenes) -> NDArray[np.bool_]:
        """Which objects (N, 3) can be changed like this."""
        asked = ((FILLS, self.fills, batch.fill), (SHAPES, self.shapes, batch.shape), (SIZES, self.sizes, batch.size))
        return np.all([np.isin(found, [names.index(n) for n in own]) for names, own, found in asked], 0)


def side(o: Layer, turn: Tensor) -> Tensor:
    """How far pixels (M, P, P) lie along the direction `turn` in [0, 1] from the object's centre, in radii."""
    return (o.u * (2 * math.pi * turn).cos() + o.v * (2 * math.pi * turn).sin()) / o.radius


def other(index: Tensor, draw: Tensor) -> Tensor:
    """Another of eight shapes or colours than these."""
    return (index + 1 + (draw * 7).floor().clamp_max(6)) % 8


def between(o: Layer, strength: Tensor, r: Tensor) -> None:
    """A shape between two shapes, by blending their distances: near the first, or (1 to 2) where it is like none of the eight."""
    rows, shape, strength = torch.arange(len(o.shape)), o.shape[:, 0, 0].long(), strength[:, 0, 0]
    free = nameless().to(shape.device)[shape]  # (M, 8, 21)
    second = (r[:, :, 0, 0].T * free.any(-1)).argmax(1)
    free = free[rows, second]  # (M, 21)
    chosen = ((strength - 1) * free.sum(1)).floor()  # so many of the free shares are less
    share = (free.cumsum(1) <= chosen[:, None]).sum(1) / SHARES
    share = torch.where(strength < 1, strength, share)[:, None, None]
    o.distance = torch.lerp(o.distance, o.form(second[:, None, None], o.u, o.v), share)


def wobble(o: Layer, strength: Tensor, r: Tensor) -> None:
    """A border that waves in and out as one goes around."""
    angle, size = torch.atan2(o.v, o.u), o.radius_pixels
    waves = torch.stack([(0.3 + r[k]) * torch.cos(k * angle + 2 * math.pi * r[k + 3]) for k in (2, 3, 4)]).sum(0)
    waved = o.distance + strength * size.clamp_min(6) * waves / 2
    o.distance = torch.maximum(waved, (torch.hypot(o.u, o.v) / o.radius - 1.4) * size)


def cut(o: Layer, strength: Tensor, r: Tensor) -> None:
    """A piece is missing: an arm, a tip, a half."""
    o.distance = torch.maximum(o.distance, (side(o, r[0]) - strength) * o.radius_pixels)


def spur(o: Layer, strength: Tensor, r: Tensor) -> None:
    """A bar that sticks out to one side."""
    width, along, across = (
        0.5 + 0.13 * o.radius_pixels,
        side(o, r[0]) * o.radius_pixels,
        side(o, r[0] + 0.25) * o.radius_pixels,
    )
    bar = torch.maximum(torch.maximum(across.abs() - width, along - strength * o.radius_pixels), -along)
    o.distance = torch.minimum(o.distance, bar)


def double(o: Layer, strength: Tensor, r: Tensor) -> None:
    """Two objects grown into one."""
    du, dv = (strength * o.radius * f(2 * math.pi * r[0]) for f in (torch.cos, torch.sin))
    shape = torch.where(r[1] < 0.5, o.shape, other(o.shape, r[2]))
    o.distance = torch.minimum(o.distance, o.form(shape, o.u - du, o.v - dv))


def half_filled(o: Layer, strength: Tensor, r: Tensor) -> None:
    """An outline on one side, filled on the other."""
    o.outlined = o.outlined ^ (side(o, r[0]) > strength)


def hazy(o: Layer, strength: Tensor, r: Tensor) -> None:
    """An outline whose inside is half painted."""
    o.opacity = torch.maximum(o.cover(), strength)
    o.outlined = torch.zeros_like(o.outlined)


def gap(o: Layer, strength: Tensor, r: Tensor) -> None:
    """An outline that is not closed."""
    angle = (torch.atan2(o.v, o.u) / (2 * math.pi) - r[0] + 0.5) % 1 - 0.5
    o.opacity = o.opacity * ((angle.abs() - strength) * 2 * math.pi * o.radius_pixels + 0.5).clamp(0, 1)


def half_striped(o: Layer, strength: Tensor, r: Tensor) -> None:
    """Stripes that end half-way."""
    o.dark = o.dark * (0.5 + 4 * (side(o, r[0]) - strength)).clamp(0, 1)


def blotched(o: Layer, strength: Tensor, r: Tensor) -> None:
    """Dark spots without order, instead of stripes or on what should be of one colour."""
    turns = (r[0], r[0] + 0.25, r[1])  # two of them across each other: no stripes
    waves = [torch.cos(2 * math.pi * (side(o, t) * (0.7 + r[k]) + r[k + 3])) for k, t in enumerate(turns, 2)]
    o.dark = (0.5 + 1.2 * torch.stack(waves).sum(0)).clamp(0, 1) * strength


def two_tone(o: Layer, strength: Tensor, r: Tensor) -> None:
    """One colour here, another there."""
    second = colours(o.colour.device)[other(o.colour, r[1])[:, 0, 0].long()][:, :, None, None]
    share = (0.5 + 3 * (side(o, r[0]) - strength)).clamp(0, 1)
    o.paint = torch.lerp(o.paint, second, share[:, None])


def off_colour(o: Layer, strength: Tensor, r: Tensor) -> None:
    """A colour that has no name here: brown, olive, greys between two colours."""
    palette = colours(o.colour.device)
    second = torch.tensor(_MUDDY, device=o.colour.device)[o.colour[:, 0, 0].long()]
    o.paint = torch.lerp(o.paint, palette[second][:, :, None, None], strength[:, None])


def ghost(o: Layer, strength: Tensor, r: Tensor) -> None:
    """An object that lets the background through."""
    o.opacity = o.opacity * strength


def soft(o: Layer, strength: Tensor, r: Tensor) -> None:
    """An object blurred by a Gaussian whose sigma is `strength` radii."""
    o.distance = 0.5 - blur(o.cover()[:, None], strength * o.radius_pixels)[:, 0]  # `cover` gives the blurred one back
    o.dark = blur(o.dark[:, None], strength * o.radius_pixels)[:, 0]
    o.outlined = torch.zeros_like(o.outlined)


_NOT_TRIANGLES = tuple(name for name in SHAPES if name != "triangle")  # what is cut off a triangle leaves another
KINDS = {
    "between": Kind(between, (1.0, 2.0), (0.0, 0.2), weight=4),
    "wobble": Kind(wobble, (0.24, 0.38), (0.0, 0.12), weight=2),
    "cut": Kind(cut, (0.0, 0.3), (0.85, 1.1), shapes=_NOT_TRIANGLES, weight=2),
    "spur": Kind(spur, (1.5, 2.0), weight=1.5),
    "double": Kind(double, (0.7, 1.3)),
    "half_filled": Kind(half_filled, (-0.2, 0.2), fills=("solid", "outlined"), sizes=("large",), weight=3),
    "hazy": Kind(hazy, (0.35, 0.65), (0.0, 0.12), fills=("outlined",), sizes=("large",), weight=8),
    "gap": Kind(gap, (0.08, 0.2), fills=("outlined",), weight=2),
    "half_striped": Kind(half_striped, (-0.25, 0.25), fills=("striped",), weight=8),
    "crooked": Kind(blotched, (0.7, 1.0), fills=("striped",), weight=6),
    "blotched": Kind(blotched, (0.55, 1.0), (0.0, 0.25), fills=("solid",), weight=3),
    "two_tone": Kind(two_tone, (-0.3, 0.3), weight=2),
    "off_colour": Kind(off_colour, (0.42, 0.58), (0.0, 0.1), weight=1.5),
    "ghost": Kind(ghost, (0.15, 0.35), (0.82, 1.0)),
    "soft": Kind(soft, (0.38, 0.65), (0.05, 0.15), shapes=SHAPES[1:]),
}
NAMES = tuple(KINDS)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images (N, C, P, P) blurred by Gaussians of these sigmas (N or N, 1, 1) in pixels, the border repeated."""
    n, c, p, _ = images.shape
    reach = 8
    ticks = torch.arange(-reach, reach + 1, device=images.device)
    weights = (-0.5 * (ticks / sigma.view(-1, 1).clamp_min(1e-3)) ** 2).exp()
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None, None]  # (N * C, 1, 1, 17)
    flat = F.pad(images.reshape(1, n * c, p, p), (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, weights, groups=n * c)
    return F.conv2d(flat, weights.transpose(2, 3), groups=n * c).view(n, c, p, p)


@dataclass(frozen=True)
class Plan:
    """What happens to the objects of N scenes: kind (N, 3), -1 for nothing, whether it is wrong (N, 3), numbers (N, 3, 9)."""

    kind: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    draws: Tensor


def plan(
    batch: Scenes, wrong: NDArray[np.bool_], generator: torch.Generator, kinds: Sequence[str] = NAMES, mild: float = 0.5
) -> Plan:
    """Chooses one object that goes wrong in each scene where `wrong` (N,) holds, and harmless changes for the others.

    kinds: those that may go wrong; a scene without an object that suits any of them gets none. mild: the share of the other
    objects that are changed harmlessly.
    """
    n, device = len(batch), generator.device
    draws = torch.rand(n, 3, DRAWS + 1, generator=generator, device=device)
    chance = torch.rand(n, 3, len(NAMES) + 2, generator=generator, device=device).cpu().numpy()
    suits = np.stack([kind.suits(batch) for kind in KINDS.values()], -1)  # (N, 3, kinds)
    weight = np.array([kind.weight * (name in kinds) for name, kind in KINDS.items()])
    calm = np.array([kind.harmless is not None for kind in KINDS.values()])
    lots = chance[..., :-2] ** (1 / np.maximum(weight, 1e-9)) * (suits & (weight > 0))
    harmless = (chance[..., :-2] * (suits & calm)).argmax(-1)
    bad = np.zeros((n, 3), bool)
    bad[np.arange(n), lots.max(-1).argmax(1)] = wrong & (lots.max((1, 2)) > 0)
    kind = np.where(bad, lots.argmax(-1), np.where(chance[..., -1] < mild, harmless, -1))
    return Plan(np.where(batch.shape >= 0, kind, -1), bad, draws)


def draw(batch: Scenes, plan: Plan, pixels: int = 32) -> Tensor:
    """Pictures (N, 3, pixels, pixels) of these scenes with their objects changed as planned, on the plan's device."""

    def change(layer: Layer) -> None:
        pictures = layer.pictures.cpu().numpy()
        kinds, wrong = (array[pictures, layer.number] for array in (plan.kind, plan.wrong))
        draws = plan.draws[layer.pictures, layer.number].T[:, :, None, None]  # (9, M, 1, 1)
        layer.outlined, layer.opacity = (v.expand_as(layer.u).clone() for v in (layer.outlined, layer.opacity))
        layer.paint = layer.paint.repeat(1, 1, *layer.u.shape[1:])
        for index in np.unique(kinds[kinds >= 0]):
            kind, here = list(KINDS.values())[index], kinds == index
            rows = torch.from_numpy(np.flatnonzero(here)).to(layer.u.device)
            ranges = np.where(wrong[here][:, None], kind.wrong, kind.harmless or kind.wrong)
            low, high = torch.from_numpy(ranges.T).to(layer.u)[:, :, None, None]
            tensors = {name: v[rows] for name, v in vars(layer).items() if isinstance(v, Tensor)}
            part = Layer(number=layer.number, **tensors)
            kind.change(part, torch.lerp(low, high, draws[DRAWS, rows]), draws[:DRAWS, rows])
            for name in ("distance", "outlined", "dark", "paint", "opacity"):
                getattr(layer, name)[rows] = getattr(part, name)

    return render(batch, pixels, plan.draws.device, change)


def examples(kind: str, seed: int, n: int, device: torch.device | str = "cpu") -> Tensor:
    """n pictures (n, 3, 32, 32) of scenes in each of which one object is malformed in this way."""
    batch = scenes(seed, 0, 12 * n)
    batch = batch.select(np.flatnonzero(KINDS[kind].suits(batch).any(1))[:n])
    generator = torch.Generator(device).manual_seed(seed)
    return draw(batch, plan(batch, np.ones(len(batch), bool), generator, (kind,)))
