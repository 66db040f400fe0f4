"""What a caption of the world `emoji_scenes` says: parts of a scene that are named, and which scenes fit them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

from course_utils.counters import Dice
from course_utils.worlds.emoji_scenes.scenes import RELATIONS, Scene, Thing


@dataclass(frozen=True)
class Parts:
    """What a caption says: the size of each thing (in the scene's order), place, relation, background.

    beside: of a relation only that the two lie next to each other.
    """

    things: tuple[bool, ...]
    place: bool = True
    relation: bool = True
    background: bool = True
    beside: bool = False

    @staticmethod
    def all(n: int) -> Parts:
        """Everything there is to say of `n` things."""
        return Parts((True,) * n)


def random_parts(n: int, seed: int) -> Parts:
    """Parts as people leave them out of a description of `n` things.

    Sizes are spoken of in one of two captions, then of each thing in 2 of 3; place in 1 of 2; the relation in 9 of 10, a fifth
    of these as "next to"; the background in 2 of 3.
    """
    dice = Dice(seed, salt=11)
    sizes = dice.chance(50)
    things = tuple(sizes and dice.chance(67) for _ in range(n))
    return Parts(things, dice.chance(50), dice.chance(90), dice.chance(67), dice.chance(20))


def canonical(scene: Scene) -> Scene:
    """The same (partial) scene in the one form in which two scenes that say the same are equal.

    A relation between things that are described alike says nothing and goes; things without an order are sorted.
    """
    things, relation = scene.things, scene.relation
    if len(things) == 1 or (relation in RELATIONS and things[0] != things[1]):
        return scene
    if len(set(things)) == 1:
        relation = None
    things = tuple(sorted(things, key=lambda thing: (thing.noun or "~", thing.size or "~")))
    return Scene(things, scene.place, relation, scene.background)


def restrict(scene: Scene, parts: Parts) -> Scene:
    """What a caption with these parts says of `scene`: a partial scene in canonical form.

    Raises ValueError if `parts` is for another number of things.
    """
    pairs = zip(scene.things, parts.things, strict=True)
    things = tuple(thing if size else replace(thing, size=None) for thing, size in pairs)
    relation = scene.relation if parts.relation else None
    if parts.beside and relation == "left of":
        relation = "next to"
    place, background = (scene.place if parts.place else None), (scene.background if parts.background else None)
    return canonical(Scene(things, place, relation, background))


def _fits(partial: Thing, thing: Thing) -> bool:
    return partial.noun in (None, thing.noun) and partial.size in (None, thing.size)


def matches(partial: Scene, scene: Scene) -> bool:
    """Whether `scene` shows what `partial` says, and no thing more: each described thing fits another real one.

    With the relation "left of" or "above" the first described thing is the scene's first, else any assignment will do.
    """
    if len(partial.things) != len(scene.things):
        return False
    if partial.place not in (None, scene.place) or partial.background not in (None, scene.background):
        return False
    if partial.relation in RELATIONS:
        return partial.relation == scene.relation and all(map(_fits, partial.things, scene.things))
    if partial.relation == "next to" and scene.relation != "left of":
        return False
    return any(all(map(_fits, partial.things, order)) for order in permutations(scene.things))
