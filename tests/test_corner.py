"""The corner of the world that lesson 17 learns, whose colour lies where, and the first fault of a picture."""

from __future__ import annotations

import pytest
import torch

from course_utils.measure.faults import FAULTS, fault
from course_utils.measure.halves import NEITHER, OTHER, OWN, colours, owners
from course_utils.measure.judge import Reading
from course_utils.worlds import corner
from course_utils.worlds.captions import parse
from course_utils.worlds.render import render
from course_utils.worlds.scenes import HELD_OUT_COMBINATIONS, Scene


def test_kinds() -> None:
    assert len(corner.THINGS) == 14 and len(corner.ONES) == 14 and len(corner.TWOS) == 14 * 13 * 2
    assert {(thing.colour, thing.shape) for thing in corner.NEVER} == {("yellow", "star"), ("green", "triangle")}
    things = {thing for kind in corner.CLEAR for thing in (*kind.things, *corner.exchanged(kind).things)}
    assert not {(thing.colour, thing.shape) for thing in things} & HELD_OUT_COMBINATIONS
    assert all(corner.exchanged(kind) in corner.CLEAR for kind in corner.CLEAR)


def test_scenes_are_of_their_kind_and_captions_say_so() -> None:
    kinds = [*corner.ONES[:3], *corner.TWOS[::50]]
    world = corner.draw(kinds, 2, seed=5)
    for scene, kind in zip(world.scenes, [kind for kind in kinds for _ in range(2)], strict=True):
        assert (scene.things, scene.background) == (kind.things, "white")
        assert scene.relation == kind.relation
        for language in ("en", "zh"):
            assert parse(corner.sentence(scene, language)) == corner.said(scene) == corner.said(kind)
            assert corner.sentence(scene, language) == corner.sentence(kind, language)


def test_wishes_belong_to_their_seed() -> None:
    texts, kinds = corner.wishes(corner.TWOS, 20, seed=1)
    assert (texts, kinds) == corner.wishes(corner.TWOS, 20, seed=1) != corner.wishes(corner.TWOS, 20, seed=2)
    assert [parse(text) for text in texts] == [corner.said(kind) for kind in kinds]
    assert texts[0].isascii() and not texts[1].isascii()


def test_owners() -> None:
    kinds = list(corner.CLEAR[::4])
    images = render(corner.draw(kinds, 1, seed=9))
    assert (owners(images, kinds) == OWN).float().mean() > 0.98
    swapped = [corner.exchanged(kind) for kind in kinds]
    assert (owners(images, swapped) == OTHER).float().mean() > 0.98
    green = torch.tensor([0.2, 0.7, 0.3]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    kind = next(kind for kind in kinds if {thing.colour for thing in kind.things} == {"red", "blue"})
    assert (owners(green, [kind]) == NEITHER).all()


RED_LEFT = "a red circle to the left of a blue square"


@pytest.mark.parametrize(
    ("read", "asked", "wanted"),
    [
        (None, RED_LEFT, "unreadable"),
        ("a red circle", RED_LEFT, "number"),
        ("a red circle to the left of a green square", RED_LEFT, "colours"),
        ("a red circle to the left of a blue star", RED_LEFT, "shapes"),
        ("a blue circle to the left of a red square", RED_LEFT, "swapped"),
        ("a red square to the left of a blue circle", RED_LEFT, "swapped"),
        ("a blue square to the left of a red circle", RED_LEFT, "relation"),
        ("a red circle above a blue square", RED_LEFT, "relation"),
        (RED_LEFT, RED_LEFT, "right"),
        ("a small red circle", "a red circle", "right"),
        ("a small red circle", "a large red circle", "other"),
        ("a red star", "a red circle", "shapes"),
    ],
)
def test_fault(read: str | None, asked: str, wanted: str) -> None:
    reading = Reading(None if read is None else parse(read), 1.0)
    assert fault(reading, parse(asked)) == wanted and wanted in FAULTS


def test_the_first_fault_agrees_with_the_judge() -> None:
    """For pairs, "right" is what `Reading.shows` calls so, whatever the order in which things are read."""
    scenes = [
        scene for kind in corner.TWOS[::9] for scene in (kind, Scene(kind.things[::-1], None, kind.relation, "white"))
    ]
    for scene in scenes:
        for kind in corner.TWOS[::13]:
            reading, asked = Reading(scene, 1.0), corner.said(kind)
            assert (fault(reading, asked) == "right") == reading.shows(asked)


def test_the_colour_of_a_single_thing_is_read_also_from_a_blur() -> None:
    """Of real pictures 97 % (272 of 280; dark yellows pass for green), sharp or as 4 x 4 flat squares."""
    world = corner.draw(corner.ONES, 20, seed=12)
    images, asked = render(world), [scene.things[0].colour for scene in world.scenes]
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(images, 8), scale_factor=8.0)
    for some in (images, blurred):
        right = sum(one == other for one, other in zip(colours(some), asked, strict=True))
        assert len(asked) == 280 and right >= 266
