"""Parsing with a grammar: the algorithm of Cocke, Kasami and Younger, which tries all ways to read a sentence at once.

It finds, for each stretch of the sentence, every category that it can be, from short stretches to long ones (Younger 1967). A
grammar gives phrases, which may have several words, a category and a meaning; and rules that join two neighbours to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from course_utils.common import CourseError


@dataclass(frozen=True)
class Rule:
    """`whole` → `left` `right`; `meaning` makes the meaning of the whole from those of the two."""

    whole: str
    left: str
    right: str
    meaning: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Tree:
    """A stretch that was read: its category, its meaning, and the words or the two parts of which it is made."""

    category: str
    meaning: Any
    words: tuple[str, ...]
    parts: tuple[Tree, ...] = ()

    def __str__(self) -> str:
        inside = " ".join(map(str, self.parts)) if self.parts else " ".join(self.words)
        return f"[{self.category} {inside}]"


@dataclass(frozen=True)
class Grammar:
    """phrases: words → (category, meaning), one or several; rules; and the category of a whole sentence."""

    phrases: Mapping[tuple[str, ...], Sequence[tuple[str, Any]]]
    rules: Sequence[Rule]
    start: str = "S"
    longest: int = field(init=False)  # words of a phrase
    joins: Mapping[tuple[str, str], list[Rule]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        joins: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.rules:
            joins.setdefault((rule.left, rule.right), []).append(rule)
        object.__setattr__(self, "longest", max(map(len, self.phrases), default=0))
        object.__setattr__(self, "joins", joins)


Chart = dict[tuple[int, int], dict[str, Tree]]  # (first word, behind the last) → category → how it was read


def chart(words: Sequence[str], grammar: Grammar) -> Chart:
    """All that each stretch of the words can be; of two readings as the same category the first found is kept.

    Steps grow with the cube of the length: stretches times places to part them.
    """
    n = len(words)
    cells: Chart = {}
    for length in range(1, n + 1):
        for i in range(n - length + 1):
            j = i + length
            cell = cells[i, j] = {}
            stretch = tuple(words[i:j])
            for category, meaning in grammar.phrases.get(stretch, ()) if length <= grammar.longest else ():
                cell.setdefault(category, Tree(category, meaning, stretch))
            for k in range(i + 1, j):
                for left in cells[i, k].values():
                    for right in cells[k, j].values():
                        for rule in grammar.joins.get((left.category, right.category), ()):
                            if rule.whole not in cell:
                                meaning = rule.meaning(left.meaning, right.meaning)
                                cell[rule.whole] = Tree(rule.whole, meaning, stretch, (left, right))
    return cells


def parse(words: Sequence[str], grammar: Grammar) -> Tree:
    """The first reading of the words as a sentence. Raises CourseError if the grammar has none."""
    tree = chart(words, grammar).get((0, len(words)), {}).get(grammar.start)
    if tree is None:
        raise CourseError(f'The grammar cannot read "{" ".join(words)}" as a sentence; write one of its kind.')
    return tree
