"""How the text encoder learns to read before it learns to draw: it says what a caption says.

From noisy pictures alone a text encoder learns very slowly which word speaks of which thing: the words are one of many reasons for
a picture's numbers. Asked for the partial scene itself, it learns so in minutes, and the generator starts from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.language.text_encoder import TextEncoder, TextEncoderConfig


@dataclass(frozen=True)
class ReaderConfig:
    """The text encoder's sizes, and how many answers each question has, "any" not counted (worlds/questions.py)."""

    whole: tuple[int, ...] = (4, 3, 9, 5)  # of the whole caption; the first is the relation: a half and its reverse
    thing: tuple[int, ...] = (2, 3, 8, 8)  # of each thing
    things: int = 3
    edges: int = 4  # what stands left, right, at the top, at the bottom: asked as of each thing
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)


class Reader(nn.Module):
    """Tokens (B, T) to logits for each question, of the whole, of each thing, of each edge: together they are the text encoder's summary."""

    def __init__(self, config: ReaderConfig | None = None):
        super().__init__()
        self.config = config = config or ReaderConfig()
        self.sizes = [n + 1 for n in (*config.whole, *((config.things + config.edges) * config.thing))]
        if sum(self.sizes) != config.text.summary:
            raise CourseError(f"{sum(self.sizes)} answers do not fit into a summary of {config.text.summary} numbers.")
        self.text = TextEncoder(config.text)

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return self.text(tokens)[2].split(self.sizes, 1)


def reading_loss(reader: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum of the cross-entropies of all answers, mean over captions; the things may be told in any order.

    "A left of B" and "B right of A" are the same, so each caption is held against the order that fits what was answered best, with
    the relation turned round where that swaps the first two things. A reader free to choose takes the order of the sentence;
    held to one order of ours it would have to weigh word order against relation from the start, and it learned nothing for
    thousands of steps. What stands at the left or at the top has no such freedom. A generator that hears it need not find out
    which of two things belongs at a place: the product of relation, place and thing, which it had to learn before, it did not
    learn in 100,000 layouts; this it does in 12,000.

    batch: tokens (B, T); answers (B, 32) as from `answers`. `right` is the share of captions of which all answers are right.
    """
    config: ReaderConfig = reader.config  # type: ignore[assignment]
    first, each, n = len(config.whole), len(config.thing), config.things
    logits, asked = [found.float() for found in reader(batch["tokens"])], batch["answers"]
    whole, things, edges = asked.split((first, n * each, config.edges * each), 1)
    things = things.unflatten(1, (n, each))  # (B, 3, 4)
    cost, slips = [], []  # of slot i for thing j
    for i in range(n):
        losses = [
            held_against(found, target)  # (B, 3): one slot's answer for each of the things
            for found, target in zip(logits[first + i * each :], things.unbind(2), strict=False)
        ]
        cost.append(torch.stack([loss for loss, _ in losses]).sum(0))
        slips.append(torch.stack([slip for _, slip in losses]).sum(0))
    orders = torch.tensor(list(permutations(range(n))), device=asked.device)
    places = orders.argsort(1)  # in each order, where each thing comes
    half, said = config.whole[0] // 2, whole[:, :1]
    turned = torch.where((places[:, 0] > places[:, 1]) & (said < 2 * half), said + half, said)  # (B, orders)
    relation_cost, relation_slip = held_against(logits[0], turned)
    choose = lambda table: torch.stack(table, 1)[:, torch.arange(n), orders].sum(-1)  # noqa: E731 (B, orders)
    total, wrong = choose(cost) + relation_cost, choose(slips) + relation_slip
    best = total.argmin(1, keepdim=True)
    loss, wrong = total.gather(1, best)[:, 0], wrong.gather(1, best)[:, 0]
    rest = [*logits[1:first], *logits[first + n * each :]]
    for found, target in zip(rest, torch.cat([whole[:, 1:], edges], 1).split(1, 1), strict=True):
        more, slip = held_against(found, target)
        loss, wrong = loss + more[:, 0], wrong + slip[:, 0]
    return loss.mean(), {"right": (wrong == 0).float().mean()}


def held_against(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of logits (B, N) for each of the targets (B, K), and whether the likeliest answer is wrong; 0 for target -1."""
    there = targets >= 0
    loss = -logits.log_softmax(1).gather(1, targets.clamp_min(0)) * there
    return loss, ((logits.argmax(1, keepdim=True) != targets) & there).int()
