"""Captions of the world `shapes` in English and Chinese: what a caption says, writing it and reading it.

`parse(caption(scene, parts)) == restrict(scene, parts)`: a caption and the partial scene that it describes are two forms of
the same thing. The words are in `vocabulary`, the sentences in `sentences`; here are the meaning and the reader.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from course_utils.common import CourseError
from course_utils.counters import Dice
from course_utils.language.words import language_of, nearest_word, normalise, split_words
from course_utils.worlds.scenes import (
    BACKGROUNDS,
    COLOURS,
    FILLS,
    HELD_OUT_COMBINATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
)
from course_utils.worlds.sentences import ATTRIBUTES, DIRECTIONS, WRITERS, Plain
from course_utils.worlds.vocabulary import HELD_OUT_SYNONYMS, LEXICON, is_count
from course_utils.worlds.vocabulary import SPLIT_NAME as SPLIT_NAME
from course_utils.worlds.vocabulary import word_list as word_list

LONGEST = 1000  # characters of a caption
EXAMPLES = {
    "en": ("a small red circle above a large blue square", "three red stars"),
    "zh": ("一个红色的小圆在蓝色大方块的上面", "三个红色的五角星"),
}

# ------------------------------------------------------------------------------------------------ what a caption says


@dataclass(frozen=True)
class Parts:
    """What a caption says: size, fill, colour, shape of each thing (in the scene's order), place, relation, background."""

    things: tuple[tuple[bool, bool, bool, bool], ...]
    place: bool = True
    relation: bool = True
    background: bool = True

    @staticmethod
    def all(n: int) -> Parts:
        """Everything there is to say of `n` things."""
        return Parts(((True,) * 4,) * n)


def random_parts(n: int, seed: int) -> Parts:
    """Parts as people leave them out of a description of `n` things.

    Size, fill and colour are each said of a thing in 4 of 5 cases (one in nine captions does not speak of sizes at all, and
    so on), the shape in 19 of 20, place and relation in 4 of 5, the background in every second.
    """
    dice = Dice(seed, salt=1)
    topics = [dice.chance(89) for _ in range(3)]  # does the caption speak of sizes, fills, colours at all?
    things = tuple((*(said and dice.chance(90) for said in topics), dice.chance(95)) for _ in range(n))
    return Parts(things, dice.chance(80), dice.chance(80), dice.chance(50))  # type: ignore[arg-type]


_RANK: dict[str | None, int] = {
    value: i for row in (SIZES, FILLS, COLOURS, SHAPES) for i, value in enumerate((*row, None))
}


def _key(thing: Thing) -> tuple[int, int, int, int]:
    """Sorting key of a thing in canonical form: by shape, colour, size, fill; None last."""
    return tuple(99 if value is None else _RANK[value] for value in (thing.shape, thing.colour, thing.size, thing.fill))  # type: ignore[return-value]


def canonical(scene: Scene) -> Scene:
    """The same (partial) scene in the one form in which two scenes that say the same are equal.

    A relation between things that are described alike says nothing and goes; things without a relation are sorted.
    """
    things, relation = scene.things, scene.relation
    if len(things) == 1 or (relation is not None and any(thing != things[0] for thing in things)):
        return scene
    things = tuple(sorted(things, key=_key))
    return Scene(things, scene.place, None, scene.background)


def restrict(scene: Scene, parts: Parts) -> Scene:
    """What a caption with these parts says of `scene`: a partial scene in canonical form.

    Raises ValueError if `parts` is for another number of things.
    """
    things = []
    for thing, (size, fill, colour, shape) in zip(scene.things, parts.things, strict=True):
        if not (size and fill and colour and shape):
            thing = Thing(
                thing.size if size else None,
                thing.fill if fill else None,
                thing.colour if colour else None,
                thing.shape if shape else None,
            )
        things.append(thing)
    return canonical(
        Scene(
            tuple(things),
            scene.place if parts.place else None,
            scene.relation if parts.relation else None,
            scene.background if parts.background else None,
        )
    )


def _fits(partial: Thing, thing: Thing) -> bool:
    return (
        partial.size in (None, thing.size)
        and partial.fill in (None, thing.fill)
        and partial.colour in (None, thing.colour)
        and partial.shape in (None, thing.shape)
    )


def matches(partial: Scene, scene: Scene) -> bool:
    """Whether `scene` shows what `partial` says: as many things, each described thing fits another real one.

    With a relation the first described thing is the scene's first, else any assignment will do. None fits everything.
    """
    if len(partial.things) != len(scene.things):
        return False
    if partial.place not in (None, scene.place) or partial.background not in (None, scene.background):
        return False
    if partial.relation is not None:
        return partial.relation == scene.relation and all(map(_fits, partial.things, scene.things))
    return any(all(map(_fits, partial.things, order)) for order in permutations(scene.things))


# ------------------------------------------------------------------------------------------------------------ writing


class CaptionError(CourseError):
    """A caption that cannot be understood, or a wish that no caption can fulfil."""


def caption(
    scene: Scene, parts: Parts | None = None, *, language: str = "en", seed: int = 0, synonyms: str = "train"
) -> str:
    """A caption of `scene` that says `parts` (None: everything that the scene says).

    `seed` chooses words, word order and paraphrase, the same on every machine. synonyms: "plain" takes main words in plain
    order; "train" all words but the held-out synonyms; "held_out" exactly one held-out synonym where
    `has_held_out_synonym`, else as "train". Raises CaptionError for another language or kind of synonyms.
    """
    if language not in WRITERS or synonyms not in ("plain", "train", "held_out"):
        raise CaptionError(
            f"No captions in language {language!r} with synonyms {synonyms!r}; "
            'languages are "en" and "zh", synonyms "plain", "train" and "held_out".'
        )
    said = canonical(scene) if parts is None else restrict(scene, parts)
    dice = Plain(0) if synonyms == "plain" else Dice(seed, salt=2)
    return WRITERS[language](said, dice, held_out=synonyms == "held_out").sentence()


def training_caption(scene: Scene, seed: int) -> str:
    """A caption as generators are trained on: English or Chinese, complete or with things left out, each in half of the cases."""
    dice = Dice(seed, salt=2)
    parts = None if dice.chance(50) else random_parts(len(scene.things), seed)
    return caption(scene, parts, language="en" if dice.chance(50) else "zh", seed=seed)


def has_held_out_synonym(scene: Scene, parts: Parts | None = None, language: str = "en") -> bool:
    """Whether `scene` has something among the said parts for which there is a held-out synonym."""
    said = scene if parts is None else restrict(scene, parts)
    owned = set(HELD_OUT_SYNONYMS[language].values())
    return any((name, getattr(thing, name)) in owned for thing in said.things for name in ATTRIBUTES)


# ------------------------------------------------------------------------------------------------------------ reading


class UnknownWords(CaptionError):
    """Words that are not in the vocabulary. words: as written; nearest: unknown word → nearest known word, if any."""

    def __init__(self, words: Sequence[str], nearest: Mapping[str, str], example: str = ""):
        self.words, self.nearest = list(words), dict(nearest)
        told = [
            f'"{word}"' + (f' (nearest known: "{nearest[word]}")' if word in nearest else "") for word in self.words
        ]
        example = example or _example(language_of("".join(self.words)))
        noun = "word" if len(self.words) == 1 else "words"
        super().__init__(f"Unknown {noun} {', '.join(told)}; write something like {example}.")


def parse(text: str) -> Scene:
    """The partial scene that an English or Chinese caption describes, in canonical form; what it leaves open is None.

    The caption is normalised first (language/words.py), and hyphens do not matter. Raises UnknownWords, or CaptionError for
    a text that is empty, over-long or makes no sense.
    """
    if not isinstance(text, str):
        raise CaptionError(f"A caption is text, not {type(text).__name__}; write something like {_example('en')}.")
    if len(text) > LONGEST:
        raise CaptionError(
            f"The caption has {len(text):,} characters; at most {LONGEST:,} are read. Write one short sentence."
        )
    text = normalise(text)
    if not text:
        raise CaptionError(f"The caption is empty; write something like {_example('en')}.")
    language = language_of(text)
    known = frozenset(word_list()[language])
    words = split_words(text, known)
    unknown = [word for word in dict.fromkeys(words) if word not in known and word not in (",", "、")]
    if unknown and all(is_count(word, language) for word in unknown):
        raise CaptionError(
            f'The world holds one to three things, not "{unknown[0]}"; write something like {_example(language, 1)}.'
        )
    for word in unknown:
        if any(word in row for row in word_list().values()):
            raise _nonsense(f'"{word}" is of another language than the rest', language)
    if unknown:
        raise UnknownWords(unknown, {word: near for word in unknown if (near := nearest_word(word, known))})
    return _read(_tokens(words, language), language)


def remarks(text: str) -> list[str]:
    """What a reader should know before this caption is drawn: what `parse` has against it, and which of its pairs are held out.

    Unknown words are left to `unknown_words`.
    """
    try:
        things = parse(text).things
    except UnknownWords:
        return []
    except CaptionError as error:
        return [str(error)]
    pairs = dict.fromkeys((thing.colour, thing.shape) for thing in things)
    return [
        f'The pair "{colour} {shape}" is held out: no training picture shows it, so it may well be drawn wrong.'
        for colour, shape in pairs
        if (colour, shape) in HELD_OUT_COMBINATIONS
    ]


def _example(language: str, which: int = 0) -> str:
    return f'"{EXAMPLES[language][which]}"'


Token = tuple[str, str | None, str]  # kind, value, the words themselves


def _tokens(words: list[str], language: str) -> list[Token]:
    """Words as lexicon entries, the longest first: "top left corner" is one."""
    lexicon, tokens, i = LEXICON[language], [], 0
    while i < len(words):
        for n in (4, 3, 2, 1):
            phrase = " ".join(words[i : i + n])
            if phrase in lexicon:
                break
        else:  # a word that is known only as part of a phrase, such as "sign"
            raise _nonsense(f'"{phrase}" is out of place', language)
        tokens.append((*lexicon[phrase], phrase))
        i += len(phrase.split())
    return tokens


def _nonsense(reason: str, language: str) -> CaptionError:
    return CaptionError(f"This caption makes no sense here: {reason}; write something like {_example(language)}.")


# A sentence in short: T things, p a place, r a relation or direction, I "it", J "and" or a comma, w "with", z 在, h 有.
# Backgrounds are taken out first. The second entry says how things and directions belong together.
SENTENCES = {
    "en": (
        (r"T([Jw]T)*", "list"),
        (r"TJ?p|pJ?T", "place"),
        (r"TJ?rT", "first from second"),
        (r"rTJ?T|TwT(rI|Ip)", "second from first"),  # "above B there is A", "B with A above it", "B with A to its left"
        (r"TpJ?Tp|pJ?TJ?pJ?T", "both"),  # "A on the left and B on the right"
    ),
    "zh": (
        (r"h?T(Jh?T)*", "list"),
        (r"z?pJ?h?T|h?TJ?zp", "place"),
        (r"h?TJ?zTp", "first from second"),
        (r"z?TpJ?hT", "second from first"),
        (r"phTJ?phT|TzpJ?Tzp", "both"),
    ),
}
LETTERS = {"place": "p", "relation": "r", "over": "o", "it": "I", "join": "J", "with": "w", "at": "z", "has": "h"}
RELATION_OF = {side: (name, i == 1) for name, sides in DIRECTIONS.items() for i, side in enumerate(sides)}


def _read(tokens: list[Token], language: str) -> Scene:
    """The partial scene that tokens describe: phrases first, then how they stand together."""
    sentence = ""
    directions: list[str] = []
    groups: list[tuple[Thing, ...]] = []
    background: str | None = None
    said: dict[str, str | None] = {}  # of the phrase that is being read
    heard = ""  # the words of that phrase
    for kind, value, words in tokens:
        if kind == "skip" or (said and kind == "join" and words in ",、"):
            continue
        if kind in ("count", "background", *ATTRIBUTES[:3]):
            if said.setdefault(kind, value) != value:
                raise _nonsense(f'"{words}" contradicts what stands before it', language)
            if kind != "count":
                heard = f"{heard} {words}".strip() if language == "en" else heard + words
            if "ground is" not in said or kind != "background":
                continue
        elif kind == "ground is":
            said[kind] = value
            continue
        if kind in ("shape", "shapes"):
            if "background" in said:
                raise _nonsense(f'"{heard}" is said of a background, but not of "{words}"', language)
            if kind == "shapes" and said.get("count") in (None, "1"):
                raise _nonsense(f'say how many "{words}" there are, one to three', language)
            thing = Thing(said.get("size"), said.get("fill"), said.get("colour"), value)
            groups.append((thing,) * int(said.get("count") or 1))
            sentence += "T"
        elif kind in ("background", "ground", "whole background"):
            found = value or said.get("background")
            if found is None or set(said) - {"count", "background", "ground is"}:
                wrong = f', not "{heard}"' if heard else ""
                raise _nonsense(f"a background is {', '.join(BACKGROUNDS[:-1])} or {BACKGROUNDS[-1]}{wrong}", language)
            if background not in (None, found):
                raise _nonsense("it names two backgrounds", language)
            background = found
            if sentence.endswith("o"):  # "over a white background" is no relation
                directions.pop()
            sentence = sentence.removesuffix("o").removesuffix("z")
        elif said:
            raise _nonsense(f'"{heard or words}" needs a shape after it', language)
        else:
            sentence += LETTERS[kind]
            if value is not None:
                directions.append(value)
        said, heard = {}, ""
    if said:
        raise _nonsense(f'"{heard or words}" needs a shape after it', language)
    sentence = re.sub("J*w[Jw]*", "w", re.sub("J+", "J", sentence.replace("o", "r"))).strip("Jw")
    how = next((how for pattern, how in SENTENCES[language] if re.fullmatch(pattern, sentence)), "")
    if not how and "TT" in sentence:
        link = '"and", a comma' if language == "en" else '"和"'
        raise _nonsense(f"nothing stands between two things; put {link} or a relation there", language)
    return canonical(_together(how, groups, directions, background, language))


def _together(
    how: str, groups: list[tuple[Thing, ...]], directions: list[str], background: str | None, language: str
) -> Scene:
    """Things and directions as one scene, or a CaptionError that says why they do not go together."""
    things = tuple(thing for group in groups for thing in group)
    if not things:
        raise _nonsense("it names no shape", language)
    if len(things) > 3:
        raise CaptionError(
            f"The world holds one to three things, not {len(things)}; write something like {_example(language, 1)}."
        )
    if how == "list":
        return Scene(things, None, None, background)
    if len(things) == 3:
        raise _nonsense("three things have neither place nor relation", language)
    if len(things) == 1:
        if how != "place":
            raise _nonsense("one thing has at most one place and no relation", language)
        return Scene(things, directions[0], None, background)
    relations = [RELATION_OF.get(direction) for direction in directions]
    if how == "both" and any(set(directions) == set(sides) for sides in DIRECTIONS.values()):
        how = "first from second"  # the second direction says the same again
    if how not in ("first from second", "second from first") or relations[0] is None or len(groups) != 2:
        raise _nonsense("two things may have one relation (left of, right of, above or below) and no place", language)
    name, swapped = relations[0]
    if swapped != (how == "second from first"):
        things = things[::-1]
    return Scene(things, None, name, background)
