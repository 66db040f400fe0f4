"""Language models that only count: what followed the last n - 1 tokens, how often. No better model goes without them beside it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from course_utils.counters import Dice
from course_utils.language.tokenizer import EMPTY, PAD

BEGIN, END = EMPTY, PAD  # as in models/gpt.py: what stands before a row, and what ends it


class Counts:
    """What followed each row of 0 to `longest` - 1 tokens, how often, in `rows` of token numbers without BEGIN and END.

    From these counts come the models of n = 1 to `longest` tokens, the shorter filling the gaps of the longer. With h the last
    n - 1 tokens and h' the last n - 2, p_n(w | h) = (c(h w) + kappa p_{n-1}(w | h')) / (c(h) + kappa), and p_0 is 1 / vocabulary: a
    Dirichlet prior of strength kappa > 0 (MacKay & Bauman Peto 1995; lesson 11, equation 11.2).
    """

    def __init__(self, rows: Iterable[Sequence[int]], vocabulary: int, longest: int = 3):
        self.vocabulary, self.longest = vocabulary, longest
        self.after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for row in rows:
            for history, token in self.places(row):
                for n in range(longest):
                    self.after[history[len(history) - n :]][token] += 1
        self.total = {history: found.total() for history, found in self.after.items()}

    def places(self, row: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
        """The last `longest` - 1 tokens before each token of a row, and before its end, with that token."""
        full = [BEGIN] * (self.longest - 1) + [*row, END]
        return [(tuple(full[t - self.longest + 1 : t]), full[t]) for t in range(self.longest - 1, len(full))]

    def surprise(self, row: Sequence[int], n: int, kappa: float) -> float:
        """-log p of a row and its end by the model of n tokens, in nats."""
        nats = 0.0
        for history, token in self.places(row):
            p = 1 / self.vocabulary
            for m in range(n):
                h = history[len(history) - m :]
                p = (self.after[h][token] + kappa * p) / (self.total[h] + kappa) if h in self.total else p
            nats -= math.log(p)
        return nats

    def write(self, n: int, kappa: float, most: int, dice: Dice) -> list[int]:
        """A row of at most `most` tokens, drawn from the model of n tokens.

        With probability c(h) / (c(h) + kappa) comes what followed h in a place drawn by lot; else the shorter model is asked.
        """
        row: list[int] = []
        while len(row) < most:
            before = tuple([BEGIN] * (n - 1) + row)
            token = dice.below(self.vocabulary)
            for m in range(n - 1, -1, -1):
                found = self.after.get(h := before[len(before) - m :])
                if found and dice.below(1 << 24) < (1 << 24) * self.total[h] / (self.total[h] + kappa):
                    token = at(found, dice.below(self.total[h]))
                    break
            if token == END:
                break
            row.append(token)
        return row


def at(found: Counter[int], place: int) -> int:
    """The token at this place of all that were counted, one behind the other in the order in which they were first met."""
    for token, count in found.items():
        place -= count
        if place < 0:
            return token
    raise IndexError("there are not so many")
