"""Byte-pair encoding from scratch: learning merges and applying them (Sennrich et al. 2016, on bytes as in GPT-2).

With the same texts it learns the same merges as the `tokenizers` library, and gives the same encodings: the text is cut
beforehand by the library's own rule, and of pairs that are equally frequent the first in the vocabulary's order is merged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from course_utils.common import CourseError
from course_utils.language.tokenizer import SPECIAL

Pair = tuple[str, str]


def pieces(text: str) -> list[str]:
    """The text cut before any merge: words with the blank before them, signs, and runs of Chinese; a letter for each byte.

    GPT-2's rule, which the library applies: no merge ever reaches over such a cut. A blank becomes "Ġ".
    """
    from tokenizers import pre_tokenizers

    return [piece for piece, _ in pre_tokenizers.ByteLevel(add_prefix_space=True).pre_tokenize_str(text)]


def alphabet() -> list[str]:
    """The 256 letters that stand for the bytes, in the order of the vocabulary."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def merge(parts: Sequence[str], pair: Pair) -> list[str]:
    """`parts` with each `pair` of neighbours joined, from left to right."""
    merged: list[str] = []
    i = 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            merged.append(parts[i] + parts[i + 1])
            i += 2
        else:
            merged.append(parts[i])
            i += 1
    return merged


def learn(texts: Iterable[str], merges: int) -> list[Pair]:
    """The first `merges` pairs to join, in order; fewer if the texts have no more.

    Each step joins the most frequent pair of neighbours. Of several it is the one whose left part, then whose right part,
    came into the vocabulary first. Raises CourseError if `merges` is negative.
    """
    if merges < 0:
        raise CourseError(f"The number of merges is {merges}; it must be 0 or more.")
    frequency = Counter(piece for text in texts for piece in pieces(text))
    words = {piece: list(piece) for piece in frequency}
    number = {token: i for i, token in enumerate(SPECIAL + alphabet())}
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)  # the pieces in which a pair occurs

    def add(piece: str, sign: int) -> None:
        for pair in pairwise(words[piece]):
            counts[pair] += sign * frequency[piece]
            where[pair].add(piece)

    for piece in words:
        add(piece, +1)
    found: list[Pair] = []
    while len(found) < merges:
        best = max(counts, key=lambda pair: (counts[pair], -number[pair[0]], -number[pair[1]]), default=None)
        if best is None or counts[best] < 1:
            break
        found.append(best)
        number.setdefault("".join(best), len(number))
        for piece in where.pop(best):  # only these change
            add(piece, -1)
            words[piece] = merge(words[piece], best)
            add(piece, +1)
        del counts[best]
    return found


def vocabulary(merges: Iterable[Pair]) -> dict[str, int]:
    """token → number: the special tokens, the 256 bytes, then what each merge makes."""
    tokens = [*SPECIAL, *alphabet(), *map("".join, merges)]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def cut(piece: str, ranks: dict[Pair, int]) -> list[str]:
    """The tokens of one piece: joins the pair that was learned first, the leftmost of several, until none is left."""
    parts = list(piece)
    while True:
        pairs = list(pairwise(parts))
        found = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)), default=None)
        if found is None or pairs[found] not in ranks:
            return parts
        parts[found : found + 2] = ["".join(pairs[found])]


def encode(text: str, merges: Sequence[Pair]) -> list[int]:
    """Token numbers of a text, as it is: it is not normalised here."""
    ranks, number = {pair: i for i, pair in enumerate(merges)}, vocabulary(merges)
    return [number[part] for piece in pieces(text) for part in cut(piece, ranks)]
