"""The world `emoji_scenes`: what a scene is, and endless scenes by seed.

One to three emoji, whole and apart, on a drawn background. A `Scene` holds everything that words can name, and as a *partial*
scene what one caption says: whatever is None was left open. What no word can name lives in `Scenes`, the batch that `render`
draws. All numbers come from integer arithmetic on (seed, index), as in the world `shapes`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from course_utils.counters import Draws
from course_utils.worlds.emoji_scenes.words import GROUNDS, HELD_OUT_BACKGROUNDS, HELD_OUT_PAIRS, NOUNS
from course_utils.worlds.scenes import PLACES, UNIT, _positions, place_of, relation_of

SIZES = ("small", "large")
NAMES = tuple(NOUNS)
BACKGROUNDS = tuple(GROUNDS["en"])
RELATIONS = ("left of", "above")  # of the first thing to the second; "A under B" is "B above A"
RADII = ((0.145, 0.017), (0.2, 0.025))  # of small and of large things: least, and how much more there may be

# Who draws from which endless list. Nothing is trained on `validation` (for choices) and `test` (for results).
SEEDS = {"judge": 1102, "features": 1103, "train": 1104, "validation": 1201, "test": 1301, "labels": 1401}


class Part(NamedTuple):
    """A part of the world: scenes with so many things (None: one to three), all of one size, all of these nouns (None: any)."""

    things: int | None = None
    sized: str | None = None
    nouns: tuple[str, ...] | None = None


WHOLE = Part()
# For a first generator: silhouettes and colours that 32x32 pixels show well. Their number divides that of all nouns.
TWELVE = (
    *("cat", "frog", "penguin", "tree", "sunflower", "mushroom"),
    *("strawberry", "balloon", "umbrella", "star", "snowman", "robot"),
)
SPLITS: dict[str, tuple[str, str, Part]] = {  # name: (seed, what is held out, of which part)
    "train": ("train", "train", WHOLE),
    "train_one": ("train", "train", Part(1)),
    "train_one_large": ("train", "train", Part(1, "large")),
    "train_twelve": ("train", "train", Part(1, "large", TWELVE)),
    "validation": ("validation", "all", WHOLE),
    "test": ("test", "all", WHOLE),
}


@dataclass(frozen=True)
class Thing:
    """One emoji of a scene. In a partial scene None means "any"; captions always say a noun."""

    size: str | None
    noun: str | None


@dataclass(frozen=True)
class Scene:
    """One to three things on a background. As a partial scene, every None is open; `len(things)` never is.

    `place` is said of a single thing, `relation` of two (first to second): one of RELATIONS, in partial scenes also
    "next to", which is beside on either side. Three things have neither.
    """

    things: tuple[Thing, ...]
    place: str | None = None
    relation: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class Scenes:
    """A batch of N scenes as integer arrays; -1 marks an absent thing. Index it with an integer to get a `Scene`.

    count, background: (N,); size, noun: (N, 3) indices; x, y, radius (of the circle around the emoji): (N, 3) in 1/65536 of
    the width; choice (which emoji of the noun), rotation, mirror: (N, 3), shade: (N, 3, 2) and surface: (N, 8) raw 16-bit
    numbers for what words cannot name; texture: (N,) 32-bit seeds of the background's details.
    """

    count: NDArray[np.int64]
    size: NDArray[np.int64]
    noun: NDArray[np.int64]
    background: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    radius: NDArray[np.int64]
    choice: NDArray[np.int64]
    rotation: NDArray[np.int64]
    mirror: NDArray[np.int64]
    shade: NDArray[np.int64]
    surface: NDArray[np.int64]
    texture: NDArray[np.int64]

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
            rows = zip(self.size[i, :count].tolist(), self.noun[i, :count].tolist(), strict=True)
            at = [(int(self.x[i, j]) / UNIT, int(self.y[i, j]) / UNIT) for j in range(count)]
            things = [Thing(SIZES[size], NAMES[noun]) for size, noun in rows]
            found.append(scene_of(things, at, BACKGROUNDS[self.background[i]]))
        return found

    @staticmethod
    def join(*parts: Scenes) -> Scenes:
        """Several batches as one."""
        return Scenes(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Scenes)})


def scene_of(things: list[Thing], at: list[tuple[float, float]], background: str) -> Scene:
    """The scene of one to three things with their centres (x, y) in [0, 1]: a place for one, a relation for two."""
    place = relation = None
    if len(things) == 1:
        place = place_of(*at[0])
    elif len(things) == 2:
        relation, swapped = relation_of(at[1][0] - at[0][0], at[1][1] - at[0][1])
        things = things[::-1] if swapped else things
    return Scene(tuple(things), place, relation, background)


def scenes(
    seed: int, start: int, n: int, *, things: int | None = None, split: str = "all", part: Part = WHOLE
) -> Scenes:
    """Scenes number `start` to `start + n - 1` of the endless list that belongs to `seed`; see `scenes_at`."""
    return scenes_at(seed, np.arange(start, start + n, dtype=np.uint64), things=things, split=split, part=part)


def scenes_at(
    seed: int, numbers: NDArray, *, things: int | None = None, split: str = "all", part: Part = WHOLE
) -> Scenes:
    """The scenes with these numbers (N,) of the endless list that belongs to `seed`.

    things: 1, 2 or 3, or None for a mixture (40, 45 and 15 %). split: "all"; "train" shows nothing that is held out;
    "held_out" one thing on a background, or two in a relation, that are. One in five scenes of two and one in three of
    three shows equal things, another third of three shows two equal ones, so that captions can count. part: shows no more of
    the world than this. Raises ValueError for anything else.
    """
    things = things or part.things
    if things not in (None, 1, 2, 3) or split not in ("all", "train", "held_out"):
        raise ValueError(
            f'things={things!r}, split={split!r}: expected 1, 2, 3 or None and "all", "train" or "held_out".'
        )
    draw, n = Draws(seed, numbers.astype(np.uint64)), len(numbers)
    share = draw.below(20)
    count = np.full(n, things) if things else 1 + (share >= 8) + (share >= 17).astype(np.int64)
    size, noun, background, axis = _words(draw, count, part)
    if split == "train":
        left, block = np.flatnonzero(held_out(count, noun, background, axis)), 0
        while len(left):
            block += 1
            again = _words(draw.fork(0x7EED + block, left), count[left], part)
            for array, drawn in zip((size, noun, background, axis), again, strict=True):
                array[left] = drawn
            left = left[held_out(count[left], noun[left], background[left], axis[left])]
    elif split == "held_out":
        which = draw.below(12)
        if things not in (1, 2):
            count = 1 + draw.below(2)
        shown, pairs = _held_out_indices()
        if part.nouns is not None:
            shown = shown[np.isin(shown[:, 0], [NAMES.index(name) for name in part.nouns])]
            which %= len(shown)
        single = count == 1
        size[:, 1:] = np.stack([draw.below(2), draw.below(2)], 1)
        background[single] = shown[which[single], 1]
        noun[single, 0] = shown[which[single], 0]
        noun[~single, 0], axis[~single], noun[~single, 1] = pairs[which[~single]].T
        size[np.arange(3) >= count[:, None]] = noun[np.arange(3) >= count[:, None]] = -1
    if part.sized is not None:
        size = np.where(size >= 0, SIZES.index(part.sized), -1)
    return _draw_the_rest(draw, count, size, noun, background, draw.below(9), axis)


def fitting(partial: Scene, seed: int, n: int) -> Scenes:
    """n scenes that fit a (partial) scene: what it says is kept, everything else is drawn anew for each."""
    draw, things = Draws(seed, np.arange(n, dtype=np.uint64)), partial.things
    size, noun = np.full((n, 3), -1), np.full((n, 3), -1)
    for j, thing in enumerate(things):
        free = draw.below(2)
        size[:, j] = free if thing.size is None else SIZES.index(thing.size)
        noun[:, j] = NAMES.index(thing.noun)
    fixed = lambda free, values, value: np.full(n, values.index(value)) if value in values else free  # noqa: E731
    background = fixed(draw.below(len(BACKGROUNDS)), BACKGROUNDS, partial.background)
    place = fixed(draw.below(9), PLACES, partial.place)
    axis = fixed(draw.below(2), RELATIONS, partial.relation)
    swap = draw.below(2) == 1
    if partial.relation == "next to":
        axis[:] = 0
    if len(things) == 2 and partial.relation not in RELATIONS:  # either may be the first
        for array in (size, noun):
            array[swap, :2] = array[swap, 1::-1]
    return _draw_the_rest(draw, np.full(n, len(things)), size, noun, background, place, axis)


def _words(draw: Draws, count: NDArray, part: Part) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """What words can name of scenes: sizes and nouns (N, 3), backgrounds (N,), axes of the relation (N,)."""
    size, noun = (np.stack([draw.below(k) for _ in range(3)], 1) for k in (len(SIZES), len(NAMES)))
    if part.nouns is not None:
        noun = np.array([NAMES.index(name) for name in part.nouns])[noun % len(part.nouns)]
    alike = draw.below(15)
    for array in (size, noun):
        array[:, 1] = np.where(alike < np.array([0, 0, 3, 10])[count], array[:, 0], array[:, 1])
        array[:, 2] = np.where(alike < 5, array[:, 0], array[:, 2])
        array[np.arange(3) >= count[:, None]] = -1
    return size, noun, draw.below(len(BACKGROUNDS)), draw.below(2)


def _held_out_indices() -> tuple[NDArray, NDArray]:
    shown = np.array([(NAMES.index(noun), BACKGROUNDS.index(ground)) for noun, ground in HELD_OUT_BACKGROUNDS])
    pairs = np.array([(NAMES.index(a), RELATIONS.index(r), NAMES.index(b)) for a, r, b in HELD_OUT_PAIRS])
    return shown, pairs


def held_out(count: NDArray, noun: NDArray, background: NDArray, axis: NDArray) -> NDArray[np.bool_]:
    """Whether scenes show something that is held out, (N,); the arguments are as in `Scenes`, axis an index of RELATIONS."""
    shown, pairs = _held_out_indices()
    grounds = np.zeros((len(NAMES) + 1, len(BACKGROUNDS)), bool)  # the last row is for -1
    grounds[shown[:, 0], shown[:, 1]] = True
    found = grounds[noun, background[:, None]].any(1)
    for first, relation, second in pairs:
        found |= (count == 2) & (noun[:, 0] == first) & (axis == relation) & (noun[:, 1] == second)
    return found


def _draw_the_rest(
    draw: Draws, count: NDArray, size: NDArray, noun: NDArray, background: NDArray, place: NDArray, axis: NDArray
) -> Scenes:
    """Completes scenes whose words are fixed: draws what words cannot name."""
    low, width = (
        np.where(size == 1, int(large * UNIT), int(small * UNIT)) for small, large in zip(*RADII, strict=True)
    )
    radius = low + (width * draw.bits(3) >> 16)
    x, y = _positions(draw, count, radius, place, axis)
    return Scenes(
        count=count,
        size=size,
        noun=noun,
        background=background,
        x=x,
        y=y,
        radius=radius,
        choice=draw.bits(3),
        rotation=draw.bits(3),
        mirror=draw.bits(3),
        shade=draw.bits(3, 2),
        surface=draw.bits(8),
        texture=(draw.raw()[:, 0] >> np.uint64(32)).astype(np.int64),
    )
