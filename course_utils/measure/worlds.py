"""What measuring needs to know of a world with a grammar: one form for `shapes` and `emoji_scenes`.

Both worlds have scenes of one to three things, each with attributes, and a place, a relation and a background; both write
captions of them and read captions back. So one judge and one measure of quality serve both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from course_utils.common import CourseError
from course_utils.worlds import captions, render, scenes
from course_utils.worlds.emoji_scenes import captions as emoji_captions
from course_utils.worlds.emoji_scenes import meaning as emoji_meaning
from course_utils.worlds.emoji_scenes import scenes as emoji_scenes
from course_utils.worlds.emoji_scenes.render import render as emoji_render


@dataclass(frozen=True)
class Measured:
    """A world whose generators can be measured, or the part of it that a generator has learned (`within`).

    attributes: of a thing, with their values; `scene_of(things, centres in [0, 1], background)` puts a scene together. The
    other functions are those of the world's modules. judge, features: names of the weights that measure it.
    """

    name: str
    attributes: Mapping[str, tuple[str, ...]]
    backgrounds: tuple[str, ...]
    seeds: Mapping[str, int]
    judge: str
    features: str
    thing: Callable[..., Any]
    scene_of: Callable[[list[Any], list[tuple[float, float]], str], Any]
    scenes: Callable[..., Any]
    fitting: Callable[..., Any]
    render: Callable[..., Any]
    parse: Callable[[str], Any]
    caption: Callable[..., str]
    canonical: Callable[[Any], Any]
    restrict: Callable[..., Any]
    matches: Callable[[Any, Any], bool]
    random_parts: Callable[[int, int], Any]
    all_parts: Callable[[int], Any]
    has_held_out_synonym: Callable[..., bool]
    learned: Mapping[str, emoji_scenes.Part] = field(
        default_factory=dict
    )  # of splits that show a part of the world only
    counts: tuple[int, ...] = (1, 2, 3)  # how many things its scenes have

    def within(self, split: str) -> Measured:
        """The part of the world that a split shows, to measure what was trained on it: other things are not asked for."""
        if split not in self.learned:
            return self
        part = self.learned[split]

        def scenes(seed: int, start: int, n: int, *, things: int | None = None, split: str = "all") -> Any:
            return self.scenes(seed, start, n, things=part.things, split=split, part=part)

        def fitting(partial: Any, seed: int, n: int) -> Any:
            things = tuple(replace(thing, size=thing.size or part.sized) for thing in partial.things)
            return self.fitting(replace(partial, things=things), seed, n)

        return replace(
            self, scenes=scenes, fitting=fitting, counts=self.counts if part.things is None else (part.things,)
        )

    def only(self, attribute: str, asked: Any) -> Any:
        """What a scene asks of one attribute alone ("count" asks for nothing but the number of things).

        A relation needs to know which thing is which: they are told apart by the last of their attributes in which they differ.
        """
        told = attribute
        if attribute == "relation":
            differ = [name for name in self.attributes if len({getattr(thing, name) for thing in asked.things}) > 1]
            told = differ[-1] if differ else attribute
        others = {name: None for name in self.attributes if name != told}
        things = tuple(replace(thing, **others) for thing in asked.things)
        open_parts = {name: None for name in ("place", "relation", "background") if name != attribute}
        return self.canonical(replace(asked, things=things, **open_parts))


def _shapes_scene(things: list[Any], at: list[tuple[float, float]], background: str) -> scenes.Scene:
    place = relation = None
    if len(things) == 1:
        place = scenes.place_of(*at[0])
    elif len(things) == 2:
        relation, swapped = scenes.relation_of(at[1][0] - at[0][0], at[1][1] - at[0][1])
        things = things[::-1] if swapped else things
    return scenes.Scene(tuple(things), place, relation, background)


SHAPES = Measured(
    name="shapes",
    attributes={"size": scenes.SIZES, "fill": scenes.FILLS, "colour": scenes.COLOURS, "shape": scenes.SHAPES},
    backgrounds=scenes.BACKGROUNDS,
    seeds=scenes.SEEDS,
    judge="judge",
    features="features",
    thing=scenes.Thing,
    scene_of=_shapes_scene,
    scenes=scenes.scenes,
    fitting=scenes.fitting,
    render=render.render,
    parse=captions.parse,
    caption=captions.caption,
    canonical=captions.canonical,
    restrict=captions.restrict,
    matches=captions.matches,
    random_parts=captions.random_parts,
    all_parts=captions.Parts.all,
    has_held_out_synonym=captions.has_held_out_synonym,
)
EMOJI_SCENES = Measured(
    name="emoji_scenes",
    attributes={"size": emoji_scenes.SIZES, "noun": emoji_scenes.NAMES},
    backgrounds=emoji_scenes.BACKGROUNDS,
    seeds=emoji_scenes.SEEDS,
    judge="judge-emoji",
    features="features-emoji",
    thing=emoji_scenes.Thing,
    scene_of=emoji_scenes.scene_of,
    scenes=emoji_scenes.scenes,
    fitting=emoji_scenes.fitting,
    render=emoji_render,
    parse=emoji_captions.parse,
    caption=emoji_captions.caption,
    canonical=emoji_meaning.canonical,
    restrict=emoji_meaning.restrict,
    matches=emoji_meaning.matches,
    random_parts=emoji_meaning.random_parts,
    all_parts=emoji_meaning.Parts.all,
    has_held_out_synonym=emoji_captions.has_held_out_synonym,
    learned={name: part for name, (_, _, part) in emoji_scenes.SPLITS.items() if part.things},
)
MEASURED = {of.name: of for of in (SHAPES, EMOJI_SCENES)}


def measured(world: str, split: str = "train") -> Measured:
    """The measured world of this name, as far as a split shows it. Raises CourseError if that world cannot be measured."""
    if world not in MEASURED:
        raise CourseError(f"There is no judge for the world {world!r}; there are judges for {', '.join(MEASURED)}.")
    return MEASURED[world].within(split)
