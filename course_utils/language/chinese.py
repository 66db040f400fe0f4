"""Chinese words and their parts of speech by `jieba`: a dictionary of words with their frequencies, and the most probable cut.

jieba looks for the most probable way through all dictionary words that a sentence can be cut into; what no word covers is cut by a
hidden Markov model. Here it reads its dictionary once and keeps what it made of it in COURSE_HOME.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any

from course_utils.common import CourseError, course_home
from course_utils.extras import need


class Splitter:
    """jieba with the words of its dictionary, and words of one's own."""

    def __init__(self, own_words: Iterable[str] = ()):
        own = list(own_words)
        self.library = need("lab", "jieba").Tokenizer()
        self.library.tmp_dir = _folder()
        logging.getLogger("jieba").setLevel(logging.WARNING)
        self.library.initialize()
        for word in own:
            self.library.add_word(word)

    def words(self, text: str) -> list[str]:
        """The words of a text, in order, without blanks."""
        return [word for word in self.library.lcut(_checked(text)) if word.strip()]

    def tagged(self, text: str) -> list[tuple[str, str]]:
        """The same with jieba's tags: n noun, a adjective, m numeral, q measure word, v verb, p preposition, f side, u particle, …"""
        tagger = need("lab", "jieba.posseg").POSTokenizer(self.library)
        return [(pair.word, pair.flag) for pair in tagger.lcut(_checked(text)) if pair.word.strip()]


def boundaries(words: Iterable[str]) -> set[int]:
    """Where words end, counted in signs from the beginning of the text."""
    places, at = set(), 0
    for word in words:
        at += len(word)
        places.add(at)
    return places


@cache
def _folder() -> str:
    folder = course_home() / "jieba"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise CourseError(f"A text to split is text, not {type(text).__name__}.")
    return text
