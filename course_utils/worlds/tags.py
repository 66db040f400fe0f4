"""Gold part-of-speech tags of the English captions of `shapes`: the grammar knows what each word does where it stands.

The tags are those of Universal Dependencies (Nivre et al. 2016). The same word may have several: "left" is a noun in "to the
left of", an adjective in "the left side" and an adverb in "a circle left of a square".
"""

from __future__ import annotations

from functools import cache

from course_utils.common import CourseError
from course_utils.language.words import language_of, split_words
from course_utils.worlds.vocabulary import ENGLISH, LEXICON

TAGS = ("DET", "NUM", "ADJ", "NOUN", "ADP", "ADV", "VERB", "AUX", "CCONJ", "PRON", "PUNCT")
OF_KIND = {"size": "ADJ", "fill": "ADJ", "colour": "ADJ", "background": "ADJ", "shape": "NOUN", "shapes": "NOUN"}
OF_WORD = {
    **dict.fromkeys("a an the".split(), "DET"),
    **dict.fromkeys("one two three single pair trio 1 2 3".split(), "NUM"),
    **dict.fromkeys("at in on to near over above under below beneath underneath with against of".split(), "ADP"),
    **dict.fromkeys(["together"], "ADV"),
    **dict.fromkeys(["it", "its", "there"], "PRON"),
    **dict.fromkeys(["is", "are"], "AUX"),
    **dict.fromkeys(["picture", "image", "background", "backdrop"], "NOUN"),
    "draw": "VERB",
    "and": "CCONJ",
    ",": "PUNCT",
}
NOUNS = frozenset("snow jet pitch polka square love heart diamond star plus crescent".split())


@cache
def _phrases() -> dict[str, tuple[str, ...]]:
    """phrase → a tag for each word: the lexicon's phrases, and those of place and relation in full."""
    found = {tuple(phrase.split()): _of_phrase(phrase.split(), kind) for phrase, (kind, _) in LEXICON["en"].items()}
    for attribute in ("place", "relation"):
        for row in ENGLISH[attribute].values():
            for phrase in row:
                words = phrase.replace("-", " ").split()
                found[tuple(words)] = _of_phrase(words, attribute)
    found[("left", "of")] = found[("right", "of")] = ("ADV", "ADP")
    found[("a", "single")] = ("DET", "ADJ")
    found[("a", "pair", "of")] = found[("a", "trio", "of")] = ("DET", "NOUN", "ADP")
    return {" ".join(words): tags for words, tags in found.items()}


def _of_phrase(words: list[str], kind: str) -> tuple[str, ...]:
    """Tags of a phrase of this kind: its last content word decides, what stands before that is said of it."""
    content = [i for i, word in enumerate(words) if OF_WORD.get(word) is None]
    tags = []
    for i, word in enumerate(words):
        if i not in content:
            tags.append(OF_WORD[word])
        elif i == content[-1]:
            tags.append(OF_KIND.get(kind, "NOUN"))
        elif kind in OF_KIND:
            tags.append("NOUN" if word in NOUNS else "ADJ")
        else:  # "top left corner", "left hand side"
            tags.append("NOUN" if word == "hand" else "ADJ")
    return tuple(tags)


def tagged(caption: str) -> list[tuple[str, str]]:
    """The words of an English caption, normalised, each with its gold tag.

    Raises CourseError if the caption is not English or has a word that the grammar does not know.
    """
    if language_of(caption) != "en":
        raise CourseError("Gold tags are known of English captions only; for Chinese use language.chinese.tagged.")
    words, phrases = split_words(caption), _phrases()
    found: list[tuple[str, str]] = []
    while len(found) < len(words):
        rest = words[len(found) :]
        tags = next((phrases[key] for n in range(6, 0, -1) if (key := " ".join(rest[:n])) in phrases), None)
        if tags is None:
            raise CourseError(f'The grammar knows no tag for "{rest[0]}"; give a caption of the world `shapes`.')
        found += zip(rest, tags, strict=False)
    return found
