"""How a partial scene of the world `emoji_scenes` is put into words: one writer for English, one for Chinese.

Every choice is made by a `Dice` and the first option is always the plain one, so "plain" captions need no other code.
"""

from __future__ import annotations

from typing import Any

from course_utils.counters import Dice
from course_utils.worlds.emoji_scenes.scenes import Scene, Thing
from course_utils.worlds.emoji_scenes.words import (
    COUNTS,
    GROUNDS,
    HELD_OUT_SYNONYMS,
    NOUNS,
    PLACES,
    SIDES,
    SIZES,
    plural,
)
from course_utils.worlds.sentences import article, groups

# On which side of the second thing the first lies → the relation, and whether the two are swapped for it.
SIDES_OF = {
    "left": ("left of", False),
    "right": ("left of", True),
    "top": ("above", False),
    "bottom": ("above", True),
    "next to": ("next to", False),
}
_SIDES = {relation: [s for s, (r, _) in SIDES_OF.items() if r == relation] for relation, _ in SIDES_OF.values()}


class Writer:
    """What both languages share: the words for one caption."""

    language: str

    def __init__(self, scene: Scene, dice: Dice, held_out: bool):
        self.scene, self.dice = scene, dice
        relation = scene.relation is not None
        grouped: Any = [(thing, 1) for thing in scene.things] if relation else groups(scene, dice)  # type: ignore[arg-type]
        self.groups: list[tuple[Thing, int]] = grouped
        self.held_out: tuple[str, str] | None = None  # what is said with a held-out synonym, once
        if held_out:
            owned = set(HELD_OUT_SYNONYMS[self.language].values())
            named = [(name, getattr(t, name)) for t, _ in self.groups for name in ("size", "noun")]
            options = [meaning for meaning in [*named, ("background", scene.background)] if meaning in owned]
            self.held_out = dice.pick(options) if options else None

    def word(self, attribute: str, value: str | None, row: tuple[str, ...]) -> str:
        """One of the words of a row, the main word as often as all others together, or the held-out synonym."""
        if self.held_out == (attribute, value):
            self.held_out = None
            means = HELD_OUT_SYNONYMS[self.language]
            return self.dice.pick([word for word in means if means[word] == (attribute, value)])
        return self.dice.pick(row[:1] * max(1, len(row) - 1) + row[1:])

    def sides(self) -> tuple[str, Thing, Thing]:
        """One thing, on which side of the other it lies, and the other."""
        first, second = self.scene.things
        i = self.dice.below(2)
        if self.scene.relation == "next to":
            return ("next to", second, first) if i else ("next to", first, second)
        side = _SIDES[str(self.scene.relation)][i]
        return (side, second, first) if i else (side, first, second)

    def background(self) -> str:
        return self.word("background", self.scene.background, GROUNDS[self.language][str(self.scene.background)])


class English(Writer):
    """Writes a scene in English."""

    language = "en"

    def noun_phrase(self, thing: Thing, count: int = 1) -> str:
        noun = self.word("noun", thing.noun, NOUNS[str(thing.noun)].en)
        words = noun if count == 1 else plural(noun)
        if thing.size is not None:
            words = f"{self.word('size', thing.size, SIZES['en'][thing.size])} {words}"
        number = self.dice.pick(COUNTS["en"][count])
        return article(words) if number == "a" else f"{number} {words}"

    def content(self) -> str:
        dice = self.dice
        if self.scene.relation is not None:
            side, one, other = self.sides()
            where = dice.pick(SIDES["en"][side])
            if dice.chance(25):
                second = self.noun_phrase(other)
                return f"{where} {second} there is {self.noun_phrase(one)}"
            return f"{self.noun_phrase(one)}{dice.pick((' ', ' ', ' is '))}{where} {self.noun_phrase(other)}"
        phrases = [self.noun_phrase(*group) for group in self.groups]
        if self.scene.place is not None:
            where = dice.pick(PLACES["en"][self.scene.place])
            return f"{where} there is {phrases[0]}" if dice.chance(25) else f"{phrases[0]} {where}"
        return ", ".join(phrases[:-1]) + " and " + phrases[-1] if len(phrases) > 1 else phrases[0]

    def sentence(self) -> str:
        """The caption."""
        content = self.content()
        if self.scene.background is None:
            return content
        where = self.background()
        return f"{where}, {content}" if self.dice.chance(25) else f"{content} {where}"


class Chinese(Writer):
    """Writes a scene in Chinese."""

    language = "zh"

    def noun_phrase(self, thing: Thing, count: int = 1) -> str:
        noun = self.word("noun", thing.noun, NOUNS[str(thing.noun)].zh)
        size = "" if thing.size is None else self.word("size", thing.size, SIZES["zh"][thing.size])
        if size == "大" and noun[0] == "大":  # 很大的大象, not 大大象
            size = "很大的"
        return f"{self.dice.pick(COUNTS['zh'][count])}{NOUNS[str(thing.noun)].measure}{size}{noun}"

    def content(self) -> str:
        dice = self.dice
        at = dice.pick(("在", "在", "位于"))
        if self.scene.relation is not None:
            side, one, other = self.sides()
            where = dice.pick(("", "的")) + dice.pick(SIDES["zh"][side])
            if dice.chance(30):
                second = self.noun_phrase(other)
                return f"{second}{where}有{self.noun_phrase(one)}"
            return f"{self.noun_phrase(one)}{at}{self.noun_phrase(other)}{where}"
        phrases = [self.noun_phrase(*group) for group in self.groups]
        if self.scene.place is not None:
            where = dice.pick(PLACES["zh"][self.scene.place])
            return f"{where}有{phrases[0]}" if dice.chance(30) else f"{phrases[0]}{at}{where}"
        return "、".join(phrases[:-1]) + dice.pick("和与") + phrases[-1] if len(phrases) > 1 else phrases[0]

    def sentence(self) -> str:
        """The caption."""
        content = self.content()
        if self.scene.background is None:
            return content
        where, plain = self.background(), self.scene.relation is None and self.scene.place is None
        if plain and self.dice.chance(50):
            return f"{where}有{content}"
        return f"{content}，{where}" if self.dice.chance(25) else f"{where}，{content}"


WRITERS: dict[str, type[English] | type[Chinese]] = {"en": English, "zh": Chinese}
