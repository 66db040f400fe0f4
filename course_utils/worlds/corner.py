"""A corner of the world `shapes`, small enough to be learned while one waits.

Large solid things on white, in four colours and four shapes; one thing, or two different ones of which the first is left of
or above the second. Captions name colour, shape and relation, in one plain wording for each language. Where things lie, how
they are turned, their exact size and shade vary freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from course_utils.worlds.captions import Parts, caption, restrict
from course_utils.worlds.scenes import HELD_OUT_COMBINATIONS, RELATIONS, Scene, Scenes, Thing, fitting

COLOURS = ("red", "yellow", "blue", "green")
SHAPES = ("circle", "square", "star", "triangle")


def exchanged(scene: Scene) -> Scene:
    """The scene of two things with their colours exchanged."""
    a, b = scene.things
    things = (replace(a, colour=b.colour), replace(b, colour=a.colour))
    return replace(scene, things=things)


_ALL = tuple(Thing("large", "solid", colour, shape) for colour in COLOURS for shape in SHAPES)
THINGS = tuple(thing for thing in _ALL if (thing.colour, thing.shape) not in HELD_OUT_COMBINATIONS)
NEVER = tuple(thing for thing in _ALL if thing not in THINGS)  # combinations that are kept out of training

ONES = tuple(Scene((thing,), background="white") for thing in THINGS)
TWOS = tuple(
    Scene((a, b), relation=relation, background="white")
    for a in THINGS
    for b in THINGS
    if a != b
    for relation in RELATIONS
)

# pairs in which each word belongs to one thing: two colours, two shapes, and no held-out thing if the colours are exchanged
CLEAR = tuple(
    kind
    for kind in TWOS
    if len({thing.colour for thing in kind.things}) == len({thing.shape for thing in kind.things}) == 2
    and not set(exchanged(kind).things) & set(NEVER)
)


def draw(kinds: Sequence[Scene], n: int, seed: int) -> Scenes:
    """n scenes of each kind, the kinds one after another: what a kind leaves open is drawn anew for each."""
    return Scenes.join(*(fitting(kind, seed + i, n) for i, kind in enumerate(kinds)))


def said(scene: Scene) -> Scene:
    """What a caption of the corner says of a scene: colours, shapes, and the relation of two things."""
    return restrict(scene, _parts(scene))


def sentence(scene: Scene, language: str = "en", synonyms: str = "plain", seed: int = 0) -> str:
    """The caption of a scene of the corner; other `synonyms` (see `captions.caption`) than "plain" are for tests alone."""
    return caption(scene, _parts(scene), language=language, synonyms=synonyms, seed=seed)


def wishes(kinds: Sequence[Scene], n: int, seed: int) -> tuple[list[str], list[Scene]]:
    """n captions, English and Chinese in turns, of kinds drawn by chance; and these kinds."""
    chosen = [kinds[i] for i in np.random.default_rng(seed).integers(len(kinds), size=n)]
    return [sentence(kind, ("en", "zh")[i % 2]) for i, kind in enumerate(chosen)], chosen


def _parts(scene: Scene) -> Parts:
    n = len(scene.things)
    return Parts(((False, False, True, True),) * n, place=False, relation=n == 2, background=False)
