"""Endless small talk about everyday things, without pictures: a text whose secret is known.

Each thing has a colour and a kind, and the sentences speak of both; so which words share contexts is decided here, and what
word vectors should find is known before they are trained. The words for colours and sizes are those of `shapes`, the held-out
synonyms among them: a text may well hold words that no caption of a picture has.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from course_utils.counters import Dice
from course_utils.worlds.vocabulary import ENGLISH, HELD_OUT_SYNONYMS

COLOURS = ("red", "yellow", "blue", "green", "purple")
KINDS = ("food", "animal", "plant", "street")
THINGS = {  # (colour, kind) → what is so
    ("red", "food"): ("strawberry", "tomato"),
    ("red", "animal"): ("ladybird", "lobster"),
    ("red", "plant"): ("poppy", "holly"),
    ("red", "street"): ("firetruck", "postbox"),
    ("yellow", "food"): ("banana", "cheese"),
    ("yellow", "animal"): ("chick", "bee"),
    ("yellow", "plant"): ("sunflower", "daffodil"),
    ("yellow", "street"): ("taxi", "digger"),
    ("blue", "food"): ("blueberry", "mussel"),
    ("blue", "animal"): ("peacock", "dragonfly"),
    ("blue", "plant"): ("cornflower", "bluebell"),
    ("blue", "street"): ("tram", "signpost"),
    ("green", "food"): ("cucumber", "lettuce"),
    ("green", "animal"): ("frog", "lizard"),
    ("green", "plant"): ("fern", "moss"),
    ("green", "street"): ("tractor", "bin"),
    ("purple", "food"): ("aubergine", "grape"),
    ("purple", "animal"): ("starfish", "butterfly"),
    ("purple", "plant"): ("lavender", "thistle"),
    ("purple", "street"): ("scooter", "caravan"),
}
SIZED = {"small": ("crumb", "ant", "pin", "seed", "bead"), "large": ("mountain", "castle", "ship", "tower", "whale")}

OF_COLOUR = ("the {thing} is {word}", "a {word} {thing}", "look at the {word} {thing}", "{word} as a {thing}")
OF_SIZE = ("the {thing} is {word}", "a {word} {thing}", "it was {word} as a {thing}", "such a {word} {thing}")
OF_KIND = {
    "food": ("we ate the {thing} for lunch", "cut the {thing} and cook it", "a plate with {thing} and bread"),
    "animal": ("the {thing} hid from the cat", "the {thing} has two eyes", "feed the hungry {thing}"),
    "plant": ("water the {thing} in spring", "the {thing} grows in the garden", "the {thing} needs sun and rain"),
    "street": ("the {thing} stands at the corner", "children run around the {thing}", "rust on the old {thing}"),
}
SHOP = ("the paint called {word} costs three pounds", "we ordered {word} from the shop", "{word} was sold out again")


def words_for(attribute: str, value: str) -> tuple[str, ...]:
    """The single words that say this colour or size: those of the grammar, then held-out synonyms."""
    held_out = tuple(word for word, meaning in HELD_OUT_SYNONYMS["en"].items() if meaning == (attribute, value))
    return ENGLISH[attribute][value] + held_out


def sentences(n: int, seed: int = 0, apart: Collection[str] = ()) -> list[str]:
    """n sentences, the same for the same seed. Words in `apart` are spoken of in a shop only, as names of paint.

    Four in ten name a thing with its colour, two a thing with its size, three say what things of its kind do; one in ten
    colours belongs to another thing: talk is not tidy.
    """
    dice, rows = Dice(seed, salt=7), []
    for _ in range(n):
        topic = dice.below(10)
        if topic < 6:
            attribute = "colour" if topic < 4 else "size"
            values = COLOURS if attribute == "colour" else tuple(SIZED)
            value = dice.pick(values)
            word = dice.pick(words_for(attribute, value))
            if word in apart:
                rows.append(dice.pick(SHOP).format(word=word))
                continue
            other = value if not dice.chance(10) else dice.pick(values)
            thing = dice.pick(SIZED[other] if attribute == "size" else THINGS[other, dice.pick(KINDS)])
            rows.append(dice.pick(OF_COLOUR if attribute == "colour" else OF_SIZE).format(thing=thing, word=word))
        else:
            kind = dice.pick(KINDS)
            rows.append(dice.pick(OF_KIND[kind]).format(thing=dice.pick(THINGS[dice.pick(COLOURS), kind])))
    return [re.sub(r"\ba(?= [aeiou])", "an", row) for row in rows]
