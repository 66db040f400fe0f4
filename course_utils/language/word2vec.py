"""Word vectors by skip-gram with negative sampling, from scratch (Mikolov et al. 2013, "word2vec").

A word is known by its neighbours: its vector learns to tell words that stood near it from words drawn at random. Config, pairs,
loss, training, and the vectors, which is what is left and used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.common import CourseError


@dataclass(frozen=True)
class Word2VecConfig:
    """Sizes and training of word vectors."""

    width: int = 32
    window: int = 3  # neighbours on each side that count as context
    negatives: int = 5  # words drawn at random for each true neighbour
    power: float = 0.75  # they are drawn by their frequency to this power
    fewest: int = 3  # rarer words are left out
    steps: int = 3_000
    batch_size: int = 1_024  # pairs
    learning_rate: float = 0.01


def count_words(sentences: Iterable[Sequence[str]], fewest: int = 1) -> dict[str, int]:
    """How often each word occurs, the most frequent first, then by the alphabet; rarer ones than `fewest` are left out."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return {word: n for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= fewest}


def skip_grams(sentences: Iterable[Sequence[int]], window: int) -> Tensor:
    """All pairs (centre, neighbour) at most `window` apart, (N, 2)."""
    pairs = [
        (sentence[i], sentence[j])
        for sentence in sentences
        for i in range(len(sentence))
        for j in range(max(0, i - window), min(len(sentence), i + window + 1))
        if i != j
    ]
    return torch.tensor(pairs, dtype=torch.long).view(-1, 2)


def negative_sampling_loss(centre: Tensor, neighbour: Tensor, negatives: Tensor) -> Tensor:
    """Mean over B of -log σ(u·v) - Σ_k log σ(-u_k·v) for v = centre (B, D), u = neighbour (B, D), u_k = negatives (B, K, D)."""
    true = (neighbour * centre).sum(-1)  # (B,)
    false = (negatives @ centre[..., None]).squeeze(-1)  # (B, K)
    return -(F.logsigmoid(true) + F.logsigmoid(-false).sum(-1)).mean()


class WordVectors:
    """What is left of training: words, and a vector for each, (V, D), of length 1."""

    def __init__(self, words: Sequence[str], matrix: Tensor):
        self.words, self.matrix = list(words), F.normalize(matrix.detach(), dim=-1)
        self.numbers = {word: i for i, word in enumerate(self.words)}

    def __getitem__(self, word: str) -> Tensor:
        """The vector (D,) of a word. Raises CourseError for a word without one."""
        if word not in self.numbers:
            raise CourseError(f'There is no vector for "{word}": the text did not hold it, or too rarely.')
        return self.matrix[self.numbers[word]]

    def embed(self, words: Sequence[str]) -> Tensor:
        """Vectors (T, D) of the words of a text, as a text encoder gives them; zeros for a word without one."""
        rows = [self[word] if word in self.numbers else torch.zeros_like(self.matrix[0]) for word in words]
        return torch.stack(rows) if rows else self.matrix[:0]

    def nearest(
        self, to: str | Tensor, n: int = 5, among: Iterable[str] | None = None, but: Iterable[str] = ()
    ) -> list[tuple[str, float]]:
        """The n words whose vectors have the largest cosine with a word's vector, or with a vector (D,), each with it.

        The word itself is never one of them. among: only these words; but: none of these.
        """
        target = F.normalize(self[to] if isinstance(to, str) else to, dim=0)
        left_out = {*but, to} if isinstance(to, str) else set(but)
        allowed = [w for w in (self.words if among is None else among) if w in self.numbers and w not in left_out]
        found = [(word, float(self[word] @ target)) for word in allowed]
        return sorted(found, key=lambda item: -item[1])[:n]

    def analogy(self, a: str, b: str, c: str, n: int = 1) -> list[tuple[str, float]]:
        """Words d with "a is to b as c is to d": the nearest to b - a + c, none of the three."""
        return self.nearest(self[b] - self[a] + self[c], n, but=(a, b, c))


def train_word2vec(
    sentences: Sequence[Sequence[str]], config: Word2VecConfig | None = None, seed: int = 0
) -> WordVectors:
    """Word vectors of sentences, each a list of words; the same for the same seed. CourseError if no two words are neighbours."""
    config = config or Word2VecConfig()
    counts = count_words(sentences, config.fewest)
    numbers = {word: i for i, word in enumerate(counts)}
    known = [[numbers[word] for word in sentence if word in numbers] for sentence in sentences]
    pairs = skip_grams(known, config.window)
    if not len(pairs):
        raise CourseError("There are no neighbours to learn from; give sentences of two words or more, as lists.")
    frequency = torch.tensor([float(n) for n in counts.values()]) ** config.power
    generator = torch.Generator().manual_seed(seed)

    def table(scale: float) -> nn.Parameter:
        return nn.Parameter(scale * torch.randn(len(counts), config.width, generator=generator))

    centres, neighbours = table(config.width**-0.5), table(0)  # v and u: each word has two vectors
    optimiser = torch.optim.Adam([centres, neighbours], config.learning_rate)
    for step in range(config.steps):
        optimiser.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
        batch = pairs[torch.randint(len(pairs), (config.batch_size,), generator=generator)]
        drawn = torch.multinomial(frequency, config.batch_size * config.negatives, True, generator=generator)
        negatives = F.embedding(drawn.view(config.batch_size, config.negatives), neighbours)
        near = F.embedding(batch[:, 1], neighbours)
        loss = negative_sampling_loss(F.embedding(batch[:, 0], centres), near, negatives)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return WordVectors(list(counts), centres)
