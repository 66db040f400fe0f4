"""Caption augmentation: other words for the same picture, and captions with words left out.

Both are done anew each time that a caption is used, so a generator hears many wordings of one picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from course_utils.common import CourseError
from course_utils.counters import Dice


def swap_synonyms(caption: str, synonyms: Mapping[str, Sequence[str]], percent: int, seed: int) -> str:
    """The caption with each word for which there are synonyms replaced by one of them in `percent` of 100 cases.

    An "a" or "an" before a new word is made to fit it. Raises CourseError for percent outside 0..100.
    """
    _check(percent)
    dice = Dice(seed, salt=3)
    words = caption.split()
    for i, word in enumerate(words):
        if synonyms.get(word) and dice.chance(percent):
            words[i] = dice.pick(synonyms[word])
            if i and words[i - 1] in ("a", "an"):
                words[i - 1] = "an" if words[i][0] in "aeiou" else "a"
    return " ".join(words)


def drop_words(caption: str, percent: int, seed: int) -> str:
    """The caption without `percent` of 100 of its words, drawn anew for each seed; one word stays at least.

    Raises CourseError for percent outside 0..100.
    """
    _check(percent)
    dice = Dice(seed, salt=4)
    words = re.findall(r"\S+", caption)
    kept = [word for word in words if not dice.chance(percent)]
    return " ".join(kept or ([dice.pick(words)] if words else []))


def _check(percent: int) -> None:
    if not 0 <= percent <= 100:
        raise CourseError(f"The share of words is {percent} of 100; it must lie between 0 and 100.")
