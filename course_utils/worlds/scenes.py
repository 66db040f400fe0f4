"""The world `shapes`: what a scene is, what words can name of it, and endless scenes by seed.

A `Scene` holds everything that words can name. As a *partial* scene it is what one caption says: whatever is None was
left open. What no word can name (exact position, rotation, shade, ...) varies freely and lives in `Scenes`, the batch
that `render` draws. All numbers of a batch come from integer arithmetic on (seed, index), so the same seed is the same
scene on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from course_utils.counters import Draws

SIZES = ("small", "large")
FILLS = ("solid", "outlined", "striped")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "moon", "diamond")
BACKGROUNDS = ("white", "grey", "black", "checkered", "dotted")
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
RELATIONS = ("left of", "above")  # of the first object to the second; "A right of B" is "B left of A"

# The split `shapes-held-out-1`: no scene and no caption that a generator trains on contains these pairs.
HELD_OUT_COMBINATIONS = frozenset(
    {
        ("red", "heart"),
        ("yellow", "star"),
        ("green", "triangle"),
        ("blue", "moon"),
        ("purple", "cross"),
        ("orange", "diamond"),
    }
)

# Who draws from which endless list of scenes. Nothing is trained on `validation` (for choices), `test` (for results) or
# `labels` (the pictures that were labelled by eye).
SEEDS = {
    "autoencoder": 101,
    "judge": 102,
    "features": 103,
    "flow": 104,
    "validation": 201,
    "test": 301,
    "labels": 401,
}

UNIT = 1 << 16  # positions and radii are integers in 1/65536 of the picture's width
_EDGE = (int(0.4 * UNIT), int(0.6 * UNIT))  # "left" ends at the first, "right" begins at the second
_GAP = int(0.02 * UNIT)  # free strip on both sides of an edge, so that no place is in doubt
_MARGIN = int(0.016 * UNIT)  # between an object and the picture's border


@dataclass(frozen=True)
class Thing:
    """One object of a scene. In a partial scene None means "any"."""

    size: str | None = None
    fill: str | None = None
    colour: str | None = None
    shape: str | None = None


@dataclass(frozen=True)
class Scene:
    """One to three things on a background. As a partial scene, every None is open; `len(things)` never is.

    `place` is said of a single thing, `relation` of two (first to second). Three things have neither.
    """

    things: tuple[Thing, ...]
    place: str | None = None
    relation: str | None = None
    background: str | None = None


def place_of(x: float, y: float) -> str:
    """The place of a centre at (x, y), both in [0, 1] of the picture's width, y downwards."""
    column, row = (sum(v >= edge / UNIT for edge in _EDGE) for v in (x, y))
    return PLACES[3 * row + column]


def relation_of(dx: float, dy: float) -> tuple[str, bool]:
    """The relation between two centres and whether the pair must be swapped for it; (dx, dy) = second - first."""
    if abs(dx) >= abs(dy):
        return "left of", dx < 0
    return "above", dy < 0


@dataclass(frozen=True)
class Scenes:
    """A batch of N scenes as integer arrays; -1 marks an absent thing. Index it with an integer to get a `Scene`.

    count, background: (N,); size, fill, colour, shape: (N, 3) indices into the tuples above; x, y, radius: (N, 3) in
    1/65536 of the width; rotation, stripes, shade: (N, 3), (N, 3, 2), (N, 3, 2) and surface: (N, 8) raw 16-bit numbers for
    what words cannot name; noise: (N,) 32-bit seeds.
    """

    count: NDArray[np.int64]
    size: NDArray[np.int64]
    fill: NDArray[np.int64]
    colour: NDArray[np.int64]
    shape: NDArray[np.int64]
    background: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    radius: NDArray[np.int64]
    rotation: NDArray[np.int64]
    stripes: NDArray[np.int64]
    shade: NDArray[np.int64]
    surface: NDArray[np.int64]
    noise: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.count)

    def select(self, which: NDArray | slice | list[int]) -> Scenes:
        """The scenes at these indices (or where this mask holds), as a batch."""
        return Scenes(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    def __getitem__(self, index: int) -> Scene:
        return self.scenes[index]

    @cached_property
    def scenes(self) -> list[Scene]:
        """What words can name of each scene; of two things the first is left of or above the second."""
        found = []
        for i, count in enumerate(self.count.tolist()):
            things = [
                Thing(SIZES[s], FILLS[f], COLOURS[c], SHAPES[h])
                for s, f, c, h in zip(
                    self.size[i].tolist(),
                    self.fill[i].tolist(),
                    self.colour[i].tolist(),
                    self.shape[i].tolist(),
                    strict=True,
                )
                if s >= 0
            ]
            place = relation = None
            if count == 1:
                place = place_of(self.x[i, 0] / UNIT, self.y[i, 0] / UNIT)
            elif count == 2:
                relation = relation_of(*(int(v[i, 1] - v[i, 0]) for v in (self.x, self.y)))[0]
            found.append(Scene(tuple(things), place, relation, BACKGROUNDS[self.background[i]]))
        return found

    @staticmethod
    def join(*parts: Scenes) -> Scenes:
        """Several batches as one."""
        return Scenes(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Scenes)})


def scenes(
    seed: int, start: int, n: int, *, things: int | None = None, split: str = "all", small_stripes: bool = False
) -> Scenes:
    """Scenes number `start` to `start + n - 1` of the endless list that belongs to `seed`.

    things: 1, 2 or 3, or None for a mixture (30, 40 and 30 %). split: "all"; "train" holds no held-out combination of
    colour and shape; "held_out" shows one in its first thing. small_stripes: stripes on small things need 64x64 pixels to
    be seen, so they are off by default. One in six scenes of two and one in four of three shows equal things, so that
    captions can count. Raises ValueError for anything else.
    """
    numbers = np.arange(start, start + n, dtype=np.uint64)
    return scenes_at(seed, numbers, things=things, split=split, small_stripes=small_stripes)


def scenes_at(
    seed: int, numbers: NDArray, *, things: int | None = None, split: str = "all", small_stripes: bool = False
) -> Scenes:
    """The scenes with these numbers (N,) of the endless list that belongs to `seed`; see `scenes`."""
    if things not in (None, 1, 2, 3) or split not in ("all", "train", "held_out"):
        raise ValueError(
            f'things={things!r}, split={split!r}: expected 1, 2, 3 or None and "all", "train" or "held_out".'
        )
    draw, n = Draws(seed, numbers.astype(np.uint64)), len(numbers)
    part = draw.below(10)
    count = np.full(n, things) if things else 1 + (part >= 3) + (part >= 7).astype(np.int64)
    names = {
        name: np.stack([draw.below(len(values)) for _ in range(3)], 1)
        for name, values in (("size", SIZES), ("fill", FILLS), ("colour", COLOURS), ("shape", SHAPES))
    }
    equal = draw.below(12) < np.array([0, 0, 2, 3])[count]
    _hold_out(names, draw, split)
    if not small_stripes:
        _no_small_stripes(names, draw)
    for values in names.values():
        values[equal] = values[equal][:, :1]
        values[np.arange(3) >= count[:, None]] = -1
    background = draw.below(len(BACKGROUNDS))
    return _draw_the_rest(draw, count, names, background, draw.below(9), draw.below(2))


def fitting(partial: Scene, seed: int, n: int, *, small_stripes: bool = False) -> Scenes:
    """n scenes that fit a (partial) scene: what it says is kept, everything else is drawn anew for each."""
    draw = Draws(seed, np.arange(n, dtype=np.uint64))
    names = {}
    for name, values in (("size", SIZES), ("fill", FILLS), ("colour", COLOURS), ("shape", SHAPES)):
        names[name] = np.stack([draw.below(len(values)) for _ in range(3)], 1)
        said: list[str | None] = [getattr(thing, name) for thing in partial.things]
        if name == "size" and not small_stripes:  # what is striped is large
            said = [v or ("large" if t.fill == "striped" else None) for v, t in zip(said, partial.things, strict=True)]
        for j, value in enumerate(said):
            if value is not None:
                names[name][:, j] = values.index(value)
    if not small_stripes:
        _no_small_stripes(names, draw)
        for j, thing in enumerate(partial.things):
            if thing.fill is not None:  # who asks for small stripes gets them
                names["fill"][:, j] = FILLS.index(thing.fill)
    for drawn in names.values():
        drawn[:, len(partial.things) :] = -1
    fixed = lambda free, values, value: free if value is None else np.full(n, values.index(value))  # noqa: E731
    background = fixed(draw.below(len(BACKGROUNDS)), BACKGROUNDS, partial.background)
    place = fixed(draw.below(9), PLACES, partial.place)
    axis = fixed(draw.below(2), RELATIONS, partial.relation)
    return _draw_the_rest(draw, np.full(n, len(partial.things)), names, background, place, axis)


def _no_small_stripes(names: dict[str, NDArray[np.int64]], draw: Draws) -> None:
    plain = draw.below(2)[:, None]
    names["fill"][:] = np.where((names["size"] == 0) & (names["fill"] == 2), plain, names["fill"])


def _draw_the_rest(
    draw: Draws, count: NDArray, names: dict, background: NDArray, place: NDArray, axis: NDArray
) -> Scenes:
    """Completes scenes whose words are fixed: draws what words cannot name."""
    low, width = (
        np.where(names["size"] == 0, int(v[0] * UNIT), int(v[1] * UNIT)) for v in ((0.132, 0.195), (0.025, 0.030))
    )
    radius = low + (width * draw.bits(3) >> 16)
    x, y = _positions(draw, count, radius, place, axis)
    return Scenes(
        count=count,
        background=background,
        x=x,
        y=y,
        radius=radius,
        rotation=draw.bits(3),
        stripes=draw.bits(3, 2),
        shade=draw.bits(3, 2),
        surface=draw.bits(8),
        noise=(draw.raw()[:, 0] >> 32).astype(np.int64),
        **names,
    )


def _hold_out(names: dict[str, NDArray[np.int64]], draw: Draws, split: str) -> None:
    """Changes colours and shapes in place so that the split's promise holds."""
    pairs = np.array(sorted((COLOURS.index(c), SHAPES.index(s)) for c, s in HELD_OUT_COMBINATIONS))
    if split == "train":  # each shape has at most one held-out colour: moving on by 1 to 7 colours leaves it
        banned = np.full(len(SHAPES), -1)
        banned[pairs[:, 1]] = pairs[:, 0]
        step = np.stack([1 + draw.below(len(COLOURS) - 1) for _ in range(3)], 1)
        hit = names["colour"] == banned[names["shape"]]
        names["colour"][:] = np.where(hit, (names["colour"] + step) % len(COLOURS), names["colour"])
    elif split == "held_out":
        chosen = pairs[draw.below(len(pairs))]
        names["colour"][:, 0], names["shape"][:, 0] = chosen.T


def _positions(draw: Draws, count: NDArray, radius: NDArray, place: NDArray, axis: NDArray) -> tuple[NDArray, NDArray]:
    """Centres x, y (N, 3): objects are whole and apart; one lies in its place, the first of two is left of or above the other.

    One thing is drawn inside its place; more by rejection: propose, keep what fits, propose again for the rest.
    """
    n = len(count)
    x, y = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
    low = radius + _MARGIN
    for out, cell in ((x, place % 3), (y, place // 3)):
        first = np.stack([low[:, 0], np.full(n, _EDGE[0] + _GAP), np.full(n, _EDGE[1] + _GAP)], 1)
        last = np.stack([np.full(n, _EDGE[0] - _GAP), np.full(n, _EDGE[1] - _GAP), UNIT - low[:, 0]], 1)
        at, to = (np.take_along_axis(v, cell[:, None], 1)[:, 0] for v in (first, last))
        out[:, 0] = at + ((to - at) * draw.bits(1)[:, 0] >> 16)
    left, block = np.flatnonzero(count > 1), 0
    while len(left):
        block += 1
        tries = min(8 << block, 1024)
        raw = draw.fork(0x5EED + block, left).bits(tries, 2, 3)
        lo = low[left][:, None, None]
        at = lo + ((UNIT - 2 * lo) * raw >> 16)  # (n, tries, xy, 3)
        fits = np.ones((len(left), tries), bool)
        for a, b in ((0, 1), (0, 2), (1, 2)):
            reach = (low[left, a] + low[left, b])[:, None]
            apart = ((at[..., b] - at[..., a]) ** 2).sum(-1) >= reach**2
            fits &= apart | (count[left] <= b)[:, None]
        gap = (
            at[..., 1] - at[..., 0]
        )  # of two things the relation must be plain: mostly along the axis, first before second
        along, across = (np.take_along_axis(gap, v[:, None, None], 2)[..., 0] for v in (axis[left], 1 - axis[left]))
        fits &= (5 * np.abs(across) <= 3 * along) | (count[left] != 2)[:, None]
        found = fits.any(1)
        chosen = at[np.arange(len(left)), fits.argmax(1)]
        x[left[found]], y[left[found]] = chosen[found, 0], chosen[found, 1]
        left = left[~found]
    return x, y
