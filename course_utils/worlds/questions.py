"""What can be asked of a caption of the world `shapes`, and the right answers as numbers."""

from __future__ import annotations

from collections.abc import Sequence

from course_utils.worlds.scenes import BACKGROUNDS, COLOURS, FILLS, PLACES, SHAPES, SIZES, Scene

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


def answers(partial: Scene) -> list[int]:
    """Right answers for a partial scene in canonical form: to WHOLE, then to THING for each of three.

    "Any" is the number after a question's last value; -1 stands where there is no such thing.
    """
    whole = (partial.relation, len(partial.things), partial.place, partial.background)
    found = [len(values) if v is None else values.index(v) for v, values in zip(whole, WHOLE.values(), strict=True)]
    for thing in partial.things:
        said = (thing.size, thing.fill, thing.colour, thing.shape)
        found += [len(values) if v is None else values.index(v) for v, values in zip(said, THING.values(), strict=True)]
    return found + [-1] * (len(WHOLE) + THINGS * len(THING) - len(found))
