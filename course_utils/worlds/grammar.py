"""The English sentences of `shapes` that say how two things stand to each other, as a grammar for `language.cky`.

Written down a second time, as rules that join two neighbours: `captions.parse` reads the same sentences by patterns, and a test
holds the two against each other. The meaning of a sentence is (first, relation, second), as in `Scene`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from course_utils.language.cky import Grammar, Rule
from course_utils.language.cky import parse as read
from course_utils.language.words import split_words
from course_utils.worlds.scenes import Thing
from course_utils.worlds.sentences import DIRECTIONS
from course_utils.worlds.vocabulary import ENGLISH, LEXICON

SIDES = {side: (name, i == 0) for name, sides in DIRECTIONS.items() for i, side in enumerate(sides)}


def who(thing: Any, side: str, other: Any) -> tuple[Any, str, Any]:
    """(first, relation, second) of "`thing` lies to this side of `other`"."""
    relation, in_order = SIDES[side]
    return (thing, relation, other) if in_order else (other, relation, thing)


RULES = [
    Rule("THING", "ADJ", "THING", lambda said, thing: {**said, **thing}),
    Rule("NP", "COUNT", "THING", lambda _, thing: thing),
    # "to the left of a square" says where a thing lies: (side, other)
    Rule("WHERE", "REL", "NP", lambda side, other: (side, other)),
    Rule("WHERE", "IS", "WHERE", lambda _, where: where),
    Rule("S", "NP", "WHERE", lambda thing, where: who(thing, where[0], where[1])),
    # "above a square there is a star"
    Rule("EXIST", "THERE", "NP", lambda _, thing: thing),
    Rule("EXIST", "IS", "NP", lambda _, thing: thing),
    Rule("S", "WHERE", "EXIST", lambda where, thing: who(thing, where[0], where[1])),
    # "a square with a star above it", "… with a star to its left"
    Rule("AT_IT", "REL", "IT", lambda side, _: side),
    Rule("COMPANY", "NP", "AT_IT", lambda thing, side: (thing, side)),
    Rule("COMPANY", "WITH", "COMPANY", lambda _, company: company),
    Rule("S", "NP", "COMPANY", lambda other, company: who(company[0], company[1], other)),
    # "a star on the left and a square on the right", "on the left there is a star, on the right a square"
    Rule("PLACED", "NP", "PLACE", lambda thing, side: (thing, side)),
    Rule("PLACED", "PLACE", "EXIST", lambda side, thing: (thing, side)),
    Rule("PLACED", "PLACE", "NP", lambda side, thing: (thing, side)),
    Rule("PLACED", "AND", "PLACED", lambda _, placed: placed),
    Rule("S", "PLACED", "PLACED", lambda a, b: who(a[0], a[1], b[0])),
    # openings and backgrounds
    Rule("S", "THERE", "S", lambda _, said: said),
    Rule("S", "OPEN", "S", lambda _, said: said),
    Rule("GROUND", "BG", "GROUND", lambda _, ground: ground),
    Rule("GROUND", "COUNT", "GROUND", lambda _, ground: ground),
    Rule("ON", "OVER", "GROUND", lambda _, ground: ground),
    Rule("ON", "AND", "ON", lambda _, on: on),
    Rule("ON", "ON", "AND", lambda on, _: on),
    Rule("S", "S", "ON", lambda said, _: said),
    Rule("S", "ON", "S", lambda _, said: said),
    Rule("GROUND", "GROUND", "WITH", lambda ground, _: ground),
    Rule("S", "GROUND", "S", lambda _, said: said),
]

WORDS = {
    "COUNT": ("a", "an", "one", "a single", "1"),
    "THERE": ("there is",),
    "IS": ("is",),
    "IT": ("it",),
    "WITH": ("with",),
    "AND": ("and", ","),
    "OPEN": ("draw", "a picture of", "an image of"),
    "OVER": ("on", "over", "against"),
    "GROUND": ("background", "backdrop"),
}


@cache
def english() -> Grammar:
    """The grammar: RULES, and the phrases of the vocabulary with their categories and meanings."""
    phrases: dict[tuple[str, ...], list[tuple[str, Any]]] = {}

    def add(phrase: str, category: str, meaning: Any = None) -> None:
        phrases.setdefault(tuple(phrase.replace("-", " ").split()), []).append((category, meaning))

    for category, rows in WORDS.items():
        for row in rows:
            add(row, category)
    for phrase, (kind, value) in LEXICON["en"].items():
        if kind in ("size", "fill", "colour", "shape"):
            add(phrase, "THING" if kind == "shape" else "ADJ", {kind: value})
        elif kind == "background":
            add(phrase, "BG")
    for direction, wordings in ENGLISH["relation"].items():
        for phrase in wordings:
            add(phrase, "REL", direction)
    for side in SIDES:
        for phrase in ENGLISH["place"][str(side)]:
            add(phrase, "PLACE", side)
    for side in DIRECTIONS["left of"]:
        for start in ("to", "on"):
            add(f"{start} its {side}", "AT_IT", side)
    return Grammar(phrases, RULES)


def who_where(caption: str) -> tuple[Thing, str, Thing]:
    """(first, relation, second) of an English caption of two things: the first is left of, or above, the second.

    Raises CourseError if the caption says no such thing.
    """
    first, relation, second = read(split_words(caption), english()).meaning
    return as_thing(first), relation, as_thing(second)


def as_thing(said: dict[str, str | None]) -> Thing:
    """What was said of a thing, as a `Thing`; what was not said is None."""
    return Thing(said.get("size"), said.get("fill"), said.get("colour"), said.get("shape"))
