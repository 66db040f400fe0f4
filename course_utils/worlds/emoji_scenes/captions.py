"""Captions of the world `emoji_scenes` in English and Chinese: writing them and reading them.

`parse(caption(scene, parts)) == restrict(scene, parts)`, as in the world `shapes`. What a caption
says is in `meaning`, the sentences are in `sentences`.
"""

from __future__ import annotations

import re

from course_utils.counters import Dice
from course_utils.language.words import language_of, nearest_word, normalise, split_words
from course_utils.worlds.captions import LONGEST, CaptionError, UnknownWords
from course_utils.worlds.emoji_scenes.meaning import Parts, canonical, random_parts, restrict
from course_utils.worlds.emoji_scenes.meaning import matches as matches
from course_utils.worlds.emoji_scenes.scenes import SPLITS, Scene, Thing
from course_utils.worlds.emoji_scenes.sentences import SIDES_OF, WRITERS
from course_utils.worlds.emoji_scenes.words import (
    HELD_OUT_BACKGROUNDS,
    HELD_OUT_PAIRS,
    HELD_OUT_SYNONYMS,
    LEXICON,
    word_list,
)
from course_utils.worlds.sentences import Plain

EXAMPLES = {"en": '"a cat under a tree at night"', "zh": '"夜里，一只猫在一棵树下面"'}


# ------------------------------------------------------------------------------------------------------------ writing


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
    dice = Plain(0) if synonyms == "plain" else Dice(seed, salt=12)
    return WRITERS[language](said, dice, held_out=synonyms == "held_out").sentence()


def training_caption(scene: Scene, seed: int) -> str:
    """A caption as generators are trained on: English or Chinese, complete or with things left out, each in half of the cases."""
    dice = Dice(seed, salt=12)
    parts = None if dice.chance(50) else random_parts(len(scene.things), seed)
    return caption(scene, parts, language="en" if dice.chance(50) else "zh", seed=seed)


def has_held_out_synonym(scene: Scene, parts: Parts | None = None, language: str = "en") -> bool:
    """Whether `scene` has something among the said parts for which there is a held-out synonym."""
    said = scene if parts is None else restrict(scene, parts)
    owned = set(HELD_OUT_SYNONYMS[language].values())
    named = {("background", said.background)}
    named |= {(name, getattr(thing, name)) for thing in said.things for name in ("size", "noun")}
    return bool(owned & named)


# ------------------------------------------------------------------------------------------------------------ reading

# A sentence in short: T things, p a place or side, r a side "of", J "and" or a comma, z 在, h 有. Backgrounds are taken out
# first. The second entry says how things and sides belong together.
FORMS = {
    "en": (
        (r"T(JT)*", "list"),
        (r"TJ?p|pJ?T", "place"),
        (r"TJ?rT", "first from second"),
        (r"rTJ?T", "second from first"),
    ),
    "zh": (
        (r"h?T(JT)*", "list"),
        (r"z?pJ?h?T|h?TJ?zp", "place"),
        (r"h?TJ?zTp", "first from second"),
        (r"z?TpJ?hT", "second from first"),
    ),
}


def parse(text: str) -> Scene:
    """The partial scene that an English or Chinese caption describes, in canonical form; what it leaves open is None.

    Raises UnknownWords, or CaptionError for a text that is empty, over-long or makes no sense.
    """
    if not isinstance(text, str) or not normalise(text) or len(text) > LONGEST:
        raise CaptionError(f"A caption is one short sentence; write something like {EXAMPLES['en']}.")
    text = normalise(text)
    language = language_of(text)
    known = frozenset(word_list()[language]) | {",", "、"}
    words = split_words(text, known)
    if unknown := [word for word in dict.fromkeys(words) if word not in known]:
        near = {word: found for word in unknown if (found := nearest_word(word, known))}
        raise UnknownWords(unknown, near, EXAMPLES[language])
    return _read(words, language)


def _nonsense(reason: str, language: str) -> CaptionError:
    return CaptionError(f"This caption makes no sense here: {reason}; write something like {EXAMPLES[language]}.")


def _read(words: list[str], language: str) -> Scene:
    lexicon = LEXICON[language]
    if language == "en":  # "in the green field" is known as "green field"
        words = [word for word in words if lexicon.get(word, ("",))[0] != "skip"]
    things: list[tuple[Thing, int]] = []
    sides: list[str] = []
    form, background, i = "", None, 0
    size: str | None = None
    count = 0
    while i < len(words):
        length = next((n for n in (4, 3, 2, 1) if " ".join(words[i : i + n]) in lexicon), 0)
        if not length:
            raise _nonsense(f'"{words[i]}" is out of place', language)
        phrase = " ".join(words[i : i + length])
        kind, value = lexicon[phrase]
        i += length
        if kind == "skip":
            continue
        if kind == "size":
            size = str(value)
        elif kind == "count":
            count = int(value)
        elif kind == "noun":
            things.append((Thing(size, str(value)), max(count, 1)))
            form, size, count = form + "T", None, 0
        elif size or count:
            raise _nonsense(f'"{phrase}" stands where a noun should', language)
        elif kind == "background":
            if background not in (None, value):
                raise _nonsense("it names two backgrounds", language)
            background, form = str(value), form.removesuffix("z") + ("J" if language == "en" else "")
        elif kind == "joint":
            form += str(value)
        else:
            sides.append(str(value))
            form += "r" if kind == "side" and language == "en" else "p"
    if size or count:
        raise _nonsense("a noun is missing at its end", language)
    form = re.sub("J+", "J", form).strip("J")
    how = next((how for pattern, how in FORMS[language] if re.fullmatch(pattern, form)), "")
    return _together(how, things, sides, background, language)


def _together(
    how: str, groups: list[tuple[Thing, int]], sides: list[str], background: str | None, language: str
) -> Scene:
    """Things and sides as one scene, or a CaptionError that says why they do not go together."""
    things = tuple(thing for thing, count in groups for _ in range(count))
    if not 1 <= len(things) <= 3:
        raise _nonsense(f"a scene holds one to three things, not {len(things)}", language)
    if how == "list":
        return canonical(Scene(things, None, None, background))
    if how == "place" and len(things) == 1 and sides[0] != "next to":
        return Scene(things, sides[0], None, background)
    if how in ("first from second", "second from first") and len(things) == len(groups) == 2 and sides[0] in SIDES_OF:
        relation, swapped = SIDES_OF[sides[0]]
        if swapped != (how == "second from first"):
            things = things[::-1]
        return canonical(Scene(things, None, relation, background))
    raise _nonsense("one thing may have a place, two things one relation, and several are joined by commas", language)


def remarks(text: str, split: str = "train") -> list[str]:
    """What a reader should know before this caption is drawn by weights that have learned from a split.

    That is what `parse` has against it, what of it is held out, and what of it that split does not show. Unknown words are left to
    `unknown_words`.
    """
    try:
        said = parse(text)
    except UnknownWords:
        return []
    except CaptionError as error:
        return [str(error)]
    found = [f"{t.noun} on {said.background}" for t in said.things if (t.noun, said.background) in HELD_OUT_BACKGROUNDS]
    if len(said.things) == 2 and (said.things[0].noun, said.relation, said.things[1].noun) in HELD_OUT_PAIRS:
        found.append(f"{said.things[0].noun} {said.relation} {said.things[1].noun}")
    held_out = [
        f'The combination "{shown}" is held out: no training picture shows it, so it may well be drawn wrong.'
        for shown in dict.fromkeys(found)
    ]
    count, size, nouns = SPLITS[split][2]
    odd = count not in (None, len(said.things)) or any(size and t.size not in (None, size) for t in said.things)
    if odd or any(nouns and thing.noun not in nouns for thing in said.things):
        shown = " ".join(filter(None, ["one" if count == 1 else "", size, "thing"]))
        shown += f" of {len(nouns)} nouns ({', '.join(nouns)})" if nouns else ""
        return [f"These weights have only seen pictures of {shown}; this will be drawn wrong.", *held_out]
    return held_out
