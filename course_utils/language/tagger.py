"""A small tagger: the part of speech of each word, from the word and two neighbours on each side.

The window network of Collobert et al. 2011, "Natural Language Processing (Almost) from Scratch". Config, model, training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.common import CourseError

Tagged = list[tuple[str, str]]  # words of a sentence, each with its tag
EDGE, UNKNOWN = 0, 1  # beyond both ends of a sentence; a word that training did not hold


@dataclass(frozen=True)
class TaggerConfig:
    """Sizes and training of the tagger."""

    width: int = 24  # of a word's vector
    reach: int = 2  # neighbours on each side
    hidden: int = 64
    steps: int = 300
    batch_size: int = 256  # words
    learning_rate: float = 0.01
    dropped: float = 0.1  # share of words replaced by UNKNOWN, so that it learns to tag words it does not know


class Tagger(nn.Module):
    """Windows of word numbers (N, 2 reach + 1) to logits of tags (N, tags)."""

    def __init__(self, words: Sequence[str], tags: Sequence[str], config: TaggerConfig | None = None):
        super().__init__()
        self.config = config = config or TaggerConfig()
        self.tags = list(tags)
        self.numbers = {word: i for i, word in enumerate(words, UNKNOWN + 1)}
        self.embed = nn.Embedding(len(self.numbers) + 2, config.width)
        self.hidden = nn.Linear((2 * config.reach + 1) * config.width, config.hidden)
        self.out = nn.Linear(config.hidden, len(self.tags))

    def forward(self, windows: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(self.embed(windows).flatten(1))))

    def windows(self, words: Sequence[str]) -> Tensor:
        """Each word of a sentence with its neighbours: (N, 2 reach + 1) numbers."""
        edge = [EDGE] * self.config.reach
        numbers = edge + [self.numbers.get(word, UNKNOWN) for word in words] + edge
        return torch.tensor(numbers).unfold(0, 2 * self.config.reach + 1, 1)

    @torch.no_grad()
    def tag(self, words: Sequence[str]) -> Tagged:
        """The words of a sentence with their tags."""
        best = self(self.windows(words)).argmax(1).tolist() if words else []
        return [(word, self.tags[i]) for word, i in zip(words, best, strict=True)]


def train_tagger(sentences: Sequence[Tagged], config: TaggerConfig | None = None, seed: int = 0) -> Tagger:
    """A tagger that has learned from tagged sentences, the same for the same seed; CourseError if there are none."""
    if not any(sentences):
        raise CourseError("There are no tagged words to learn from; give sentences as lists of (word, tag).")
    known, tags = (sorted({pair[i] for sentence in sentences for pair in sentence}) for i in (0, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Tagger(known, tags, config)
        config = model.config
        windows = torch.cat([model.windows([word for word, _ in sentence]) for sentence in sentences])
        wanted = torch.tensor([tags.index(tag) for sentence in sentences for _, tag in sentence])
        optimiser = torch.optim.Adam(model.parameters(), config.learning_rate)
        for step in range(config.steps):
            optimiser.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
            rows = torch.randint(len(wanted), (config.batch_size,))
            seen = windows[rows]
            dropped = (torch.rand(seen.shape) < config.dropped) & (seen != EDGE)
            loss = F.cross_entropy(model(seen.masked_fill(dropped, UNKNOWN)), wanted[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval()
