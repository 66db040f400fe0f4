"""What is wrong with a picture, in one word: the first thing in which a judge's reading differs from what was asked."""

from __future__ import annotations

from course_utils.measure.judge import Reading
from course_utils.worlds.scenes import Scene

FAULTS = ("unreadable", "number", "colours", "shapes", "swapped", "relation", "other", "right")


def fault(reading: Reading, asked: Scene) -> str:
    """The first of FAULTS that holds; `asked` names colour and shape of each of its things.

    "colours" and "shapes": those of the things, in any order, are not those asked for. "swapped": both are there, on each
    other's things. "relation": the right things, not as they should stand to each other. "other": size, fill, place, ground.
    """
    if reading.scene is None:
        return "unreadable"
    things, wanted = reading.scene.things, asked.things
    if len(things) != len(wanted):
        return "number"
    if sorted(str(thing.colour) for thing in things) != sorted(str(thing.colour) for thing in wanted):
        return "colours"
    if sorted(str(thing.shape) for thing in things) != sorted(str(thing.shape) for thing in wanted):
        return "shapes"
    order, asked_order = ([(thing.colour, thing.shape) for thing in some] for some in (things, wanted))
    if sorted(map(str, order)) != sorted(map(str, asked_order)):
        return "swapped"
    if asked.relation is not None and (reading.scene.relation != asked.relation or order != asked_order):
        return "relation"
    return "right" if reading.shows(asked) else "other"
