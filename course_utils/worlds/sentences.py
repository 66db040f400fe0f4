"""How a partial scene is put into words: one writer for English, one for Chinese.

Every choice is made by a `Dice` and the first option is always the plain one, so "plain" captions need no other code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from course_utils.counters import Dice
from course_utils.worlds.scenes import Scene, Thing
from course_utils.worlds.vocabulary import (
    CHINESE,
    COUNTED_WITH_KE,
    ENGLISH,
    HELD_OUT_SYNONYMS,
    LANGUAGES,
    LONG_FILLS,
    Words,
    plural,
    short,
)

T = TypeVar("T")
ATTRIBUTES = ("size", "fill", "colour", "shape")
DIRECTIONS = {"left of": ("left", "right"), "above": ("top", "bottom")}  # where the first and the second thing lie
_ENGLISH_COUNTS = {2: ("two", "two", "a pair of"), 3: ("three", "three", "a trio of")}
_CHINESE_COUNTS = {1: "一", 2: "两", 3: "三"}

# Words to choose from, the main word as often as all its synonyms together; for what is left open no word.
_WEIGHTED: dict[str, Words] = {
    language: {
        attribute: {value: row[:1] * (len(row) - 2) + row for value, row in ({None: ("",)} | rows).items()}
        for attribute, rows in words.items()
    }
    for language, words in LANGUAGES.items()
}


class Plain(Dice):
    """Always the first option, and no chance comes true."""

    def below(self, n: int) -> int:
        return 0

    def pick(self, options: Sequence[T]) -> T:
        return options[0]

    def chance(self, percent: int) -> bool:
        return False


def groups(scene: Scene, dice: Dice) -> list[tuple[Thing, int]]:
    """Things as they are named: (thing, how many), equal things together.

    Two equal things of three are sometimes named one by one; the order is free where there is no relation.
    """
    things = list(scene.things)
    if scene.relation is not None:
        return [(thing, 1) for thing in things]
    if len(things) == 1 or things.count(things[0]) == len(things):
        return [(things[0], len(things))]
    if len(set(things)) < len(things) and not dice.chance(30):
        found = [(thing, things.count(thing)) for thing in dict.fromkeys(things)]
    else:
        found = [(thing, 1) for thing in things]
    for i in range(len(found) - 1):  # Fisher-Yates; `Plain` swaps each with itself
        j = i + dice.below(len(found) - i)
        found[i], found[j] = found[j], found[i]
    return found


class Writer:
    """What both languages share: the words for one caption."""

    language: str

    def __init__(self, scene: Scene, dice: Dice, held_out: bool):
        self.scene, self.dice, self.words = scene, dice, _WEIGHTED[self.language]
        self.groups = groups(scene, dice)
        self.rows = [self.words[attribute] for attribute in ATTRIBUTES]
        self.held_out: tuple[int, int] | None = None  # the one word that is a held-out synonym: (group, attribute)
        if held_out and (owners := self._owners()):
            self.held_out = dice.pick(owners)

    def _owners(self) -> list[tuple[int, int]]:
        owned = set(HELD_OUT_SYNONYMS[self.language].values())
        places = [(i, j) for i in range(len(self.groups)) for j in range(len(ATTRIBUTES))]
        return [(i, j) for i, j in places if (ATTRIBUTES[j], getattr(self.groups[i][0], ATTRIBUTES[j])) in owned]

    def word(self, attribute: str, value: str | None) -> str:
        return self.dice.pick(self.words[attribute][value])

    def words_for(self, group: int) -> list[str]:
        """Words for size, fill, colour and shape of a group, "" for what is left open (an open shape has a word: "shape")."""
        thing, pick = self.groups[group][0], self.dice.pick
        values = (thing.size, thing.fill, thing.colour, thing.shape)
        words = [pick(row[value]) for row, value in zip(self.rows, values, strict=True)]
        if self.held_out is not None and self.held_out[0] == group:
            i = self.held_out[1]
            meaning = ATTRIBUTES[i], values[i]
            words[i] = pick([word for word, means in HELD_OUT_SYNONYMS[self.language].items() if means == meaning])
        return words


def article(words: str) -> str:
    """The words after "a" or "an"; no word of the vocabulary sounds other than it is spelled."""
    return ("an " if words[0] in "aeiou" else "a ") + words


class English(Writer):
    """Writes a scene in English."""

    language = "en"

    def __init__(self, scene: Scene, dice: Dice, held_out: bool):
        super().__init__(scene, dice, held_out)
        self.digits = dice.chance(6) and scene.relation is None and scene.place is None  # "2 red circles and 1 star"

    def noun_phrase(self, group: int) -> str:
        size, fill, colour, noun = self.words_for(group)
        plain = (size, fill, colour)
        orders = (plain, plain, plain, (size, colour, fill), (fill, size, colour))
        words = " ".join([word for word in self.dice.pick(orders) if word])
        count = self.groups[group][1]
        text = f"{words} {plural(noun) if count > 1 else noun}".lstrip()
        if self.digits:
            return f"{count} {text}"
        if count > 1:
            return f"{self.dice.pick(_ENGLISH_COUNTS[count])} {text}"
        if self.dice.chance(8):
            return f"{self.dice.pick(('one', 'a single'))} {text}"
        return article(text)

    def sentence(self) -> str:
        phrase, is_clause = self.content()
        scene, dice = self.scene, self.dice
        there = "there are " if phrase.startswith(("two", "three", "2", "3")) else "there is "
        opened = phrase
        if not is_clause and dice.chance(25):
            opened = dice.pick((there, "draw ", "a picture of ", "an image of ")) + phrase
        if scene.background is None:
            return opened
        ground = article(f"{self.word('background', scene.background)} {self.word('ground', None)}")
        if not dice.chance(30):
            over = "on" if scene.relation else "over"  # "… over a square over a white background" would stumble
            return f"{opened}{',' if dice.chance(15) else ''} {dice.pick(('on', 'on', 'against', over))} {ground}"
        if is_clause:
            return f"on {ground}, {phrase}"
        form = dice.below(4)
        if form == 0 and " with " not in phrase:
            return f"{ground} with {phrase}"
        if form == 1:
            return f"on {ground} {there}{phrase}"
        return f"{dice.pick(('on', 'against'))} {ground}, {phrase}"

    def content(self) -> tuple[str, bool]:
        """The things with their place or relation, and whether that is a clause ("… is above …") or a noun phrase."""
        scene, dice = self.scene, self.dice
        phrases = [self.noun_phrase(i) for i in range(len(self.groups))]
        if scene.relation is not None:
            return self.relation(scene.relation, *phrases)
        if scene.place is not None:
            where = self.word("place", scene.place)
            forms = ((phrases[0] + " " + where, False),) * 4 + (
                (f"{phrases[0]} is {where}", True),
                (f"{where} there is {phrases[0]}", True),
                (f"{where}, {phrases[0]}", True),
            )
            return dice.pick(forms)
        if len(phrases) == 3:
            form = dice.pick(
                ("{}, {} and {}", "{}, {}, and {}", "{} and {} and {}", "{}, {} and {}", "{} with {} and {}")
            )
            return form.format(*phrases), False
        return dice.pick((" and ", " and ", " with ", " together with ")).join(phrases), False

    def relation(self, relation: str, a: str, b: str) -> tuple[str, bool]:
        dice = self.dice
        sides = DIRECTIONS[relation]
        form = dice.below(12)
        if form >= 10:  # "a on the left and b on the right": the words for both places go together
            row = dice.below(2)
            here, there = (ENGLISH["place"][side][row] for side in sides)
            if dice.chance(50):
                a, here, b, there = b, there, a, here
            if form == 10:
                return f"{a} {here} and {b} {there}", False
            return f"{here} there is {a}{dice.pick((',', ' and'))} {there} {b}", True
        first = form < 3 or not dice.chance(50)  # a is told by its relation to b, or b by its relation to a
        if not first:
            a, b = b, a
        where = self.word("relation", sides[0 if first else 1])
        if form <= 4:
            return f"{a} {where} {b}", False
        if form <= 6:
            return f"{a} is {where} {b}", True
        if form == 7:
            return f"{where} {b} {dice.pick(('there is', 'is'))} {a}", True
        if relation == "left of" and form == 8:
            return f"{b} with {a} {'to' if dice.below(2) else 'on'} its {sides[0 if first else 1]}", False
        return f"{b} with {a} {where} it", False


class Chinese(Writer):
    """Writes a scene in Chinese."""

    language = "zh"

    def __init__(self, scene: Scene, dice: Dice, held_out: bool):
        super().__init__(scene, dice, held_out)
        self.digits = dice.chance(6) and scene.relation is None and scene.place is None  # 2个 rather than 两个

    def noun_phrase(self, group: int, number: bool = True) -> str:
        dice = self.dice
        size, fill, colour, noun = self.words_for(group)
        thing, count = self.groups[group]
        if noun == "心形" and (size or fill):  # 小心形 reads as "careful", 空心心形 stumbles
            noun = "爱心"
        if len(colour) == 1 and (noun[-1] == "形" or thing.shape is None):  # 红圆 and 红方块, but 红色圆形
            colour += "色"
        if len(size) > 1 and fill in LONG_FILLS:  # one long adjective is enough
            fill = self.words["fill"][thing.fill][0]
        front = inner = ""
        if len(size) > 1:
            front = size + "的"
        if fill in LONG_FILLS or (fill and fill != "条纹" and not front and dice.chance(20)):
            front += fill + "的"
        else:
            inner = fill
        if len(size) == 1:
            inner += size
        if len(colour) == 1:
            inner, colour = inner + colour, ""
        elif colour and not dice.chance(85 if front else 30):  # a second 的 is heavy
            colour = (short(colour) if dice.chance(25) else colour) + "的"
        words = front + colour + inner + noun
        if not number:
            return words
        counter = "颗" if noun in COUNTED_WITH_KE and dice.chance(40) else "个"
        return (str(count) if self.digits else _CHINESE_COUNTS[count]) + counter + words

    def sentence(self) -> str:
        scene, dice = self.scene, self.dice
        phrase, kind = self.content()  # kind: "things", "there" (左上角有…) or "clause"
        if scene.background is None:
            return self.opening() + phrase if kind == "things" else phrase
        if dice.chance(35):
            verb = dice.pick(("背景是", "背景为", ""))
            end = verb + self.word("background", scene.background) if verb else self.ground()
            return f"{self.opening() + phrase if kind == 'things' else phrase}，{end}"
        ground = self.ground()
        if kind == "things":
            return dice.pick(
                (f"{ground}上有{phrase}", f"{ground}上有{phrase}", f"在{ground}上，有{phrase}", f"{ground}上是{phrase}")
            )
        if kind == "there":
            return f"{ground}上，{phrase}" if "的" in ground or dice.chance(50) else f"{ground}的{phrase}"
        return f"{dice.pick(('', '', '在'))}{ground}上，{phrase}"

    def ground(self) -> str:
        value = self.scene.background
        if value in self.words["whole background"] and self.dice.chance(25):
            return self.word("whole background", value)
        return self.word("background", value) + ("的背景" if self.dice.chance(20) else "背景")

    def opening(self) -> str:
        if not self.dice.chance(25):
            return ""
        return self.dice.pick(("画", "有", "图中有", "图里有", "画面上有"))

    def content(self) -> tuple[str, str]:
        scene, dice = self.scene, self.dice
        if scene.relation is not None:
            return self.relation(scene.relation)
        phrases = [self.noun_phrase(i) for i in range(len(self.groups))]
        if scene.place is not None:
            where = self.word("place", scene.place)
            form = dice.below(8)
            if form <= 4:
                return f"{where}{'是' if form == 4 else '有'}{phrases[0]}", "there"
            at = dice.pick(("在", "在", "位于"))
            return f"{phrases[0]}{at}{dice.pick(('', '', '画面', '画面的'))}{where}", "clause"
        if len(phrases) == 3:
            return dice.pick(("{}、{}和{}", "{}，{}和{}", "{}、{}与{}", "{}、{}，还有{}")).format(*phrases), "things"
        return dice.pick(("和", "和", "与", "，还有")).join(phrases), "things"

    def relation(self, relation: str) -> tuple[str, str]:
        dice = self.dice
        sides = DIRECTIONS[relation]
        form = dice.below(10)
        if form >= 8:  # 左边是…，右边是…
            a, b = self.noun_phrase(0), self.noun_phrase(1)
            i = dice.below(2)
            left, right = (CHINESE["relation"][side][i] for side in sides)
            verb = dice.pick(("是", "有", "在"))
            if verb == "在":
                return f"{a}在{left}，{b}在{right}", "clause"
            return f"{left}{verb}{a}，{right}{verb}{b}", "clause"
        first = form < 4 or dice.chance(50)
        i, j = (0, 1) if first else (1, 0)
        where = self.word("relation", sides[i])
        of = "" if dice.chance(35) else "的"
        if form <= 5:
            a = self.noun_phrase(i, number=not dice.chance(25))
            b = self.noun_phrase(j, number=not dice.chance(45))
            return f"{a}{dice.pick(('在', '在', '位于'))}{b}{of}{where}", "clause"
        a, b = self.noun_phrase(i), self.noun_phrase(j, number=not dice.chance(45))
        verb = dice.pick(("有", "有", "是"))
        return f"{'在' if verb == '有' and dice.chance(25) else ''}{b}{of}{where}{verb}{a}", "clause"


WRITERS: dict[str, type[English] | type[Chinese]] = {"en": English, "zh": Chinese}
