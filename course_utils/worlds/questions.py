"""What can be asked of a caption of the world `shapes`, or of a place in a picture, and the right answers as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from course_utils.worlds.scenes import BACKGROUNDS, COLOURS, FILLS, PLACES, SHAPES, SIZES, UNIT, Scene, Scenes, Thing

SIDES = (
    "left of",
    "above",
    "right of",
    "below",
)  # the first two are RELATIONS, the others say the same of swapped things
WHOLE: dict[
    str, Sequence[str | int]
] = {  # what is asked of the whole caption; "any" is one more answer to each question
    "relation": SIDES,
    "count": (1, 2, 3),
    "place": PLACES,
    "background": BACKGROUNDS,
}
THING: dict[str, Sequence[str | int]] = {"size": SIZES, "fill": FILLS, "colour": COLOURS, "shape": SHAPES}
THINGS = 3  # at most; each is asked for all of THING
EDGES = ("left", "right", "top", "bottom")  # and so is what stands at each of these


def answers(partial: Scene) -> list[int]:
    """Right answers for a partial scene in canonical form: to WHOLE, to THING for each of three, to THING for each of EDGES.

    "Any" is the number after a question's last value; -1 stands where there is no such thing. What stands at an edge is known where
    the caption says it: of two things, one of which is left of or above the other, and of a single thing in its place.
    """
    whole = (partial.relation, len(partial.things), partial.place, partial.background)
    found = [len(values) if v is None else values.index(v) for v, values in zip(whole, WHOLE.values(), strict=True)]
    for thing in partial.things:
        found += _described(thing)
    found += [-1] * (len(WHOLE) + THINGS * len(THING) - len(found))
    at = dict.fromkeys(EDGES, Thing())
    if partial.relation is not None:
        first, second = ("left", "right") if partial.relation == "left of" else ("top", "bottom")
        at[first], at[second] = partial.things
    elif partial.place is not None:
        at |= dict.fromkeys(set(partial.place.split()) & set(EDGES), partial.things[0])
    return found + [answer for thing in at.values() for answer in _described(thing)]


def _described(thing: Thing) -> list[int]:
    """Answers to THING."""
    said = (thing.size, thing.fill, thing.colour, thing.shape)
    return [len(values) if v is None else values.index(v) for v, values in zip(said, THING.values(), strict=True)]


def shown(batch: Scenes, side: int) -> NDArray[np.int64]:
    """Size, fill, colour and shape, as indices, of what each of side² patches of the pictures shows: (B, side², 4), -1 for no thing.

    A patch shows the thing that covers its middle or comes near it; of several the nearest.
    """
    middle = (np.arange(side) + 0.5) / side
    x, y, radius = (v[:, None, None, :] / UNIT for v in (batch.x, batch.y, batch.radius))  # (B, 1, 1, 3)
    away = np.hypot(middle[None, None, :, None] - x, middle[None, :, None, None] - y) - radius  # (B, side, side, 3)
    away[np.broadcast_to(batch.size[:, None, None] < 0, away.shape)] = np.inf
    nearest = away.argmin(-1).reshape(len(batch), -1)  # (B, side²)
    known = np.stack([batch.size, batch.fill, batch.colour, batch.shape], -1)  # (B, 3, 4)
    found = np.take_along_axis(known, nearest[..., None], 1)
    found[away.min(-1).reshape(len(batch), -1) > 0.25 / side] = -1
    return found
