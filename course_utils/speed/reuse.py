"""Reuse between steps: what the inner blocks add at one evaluation is added again at the next ones, without being computed.

From step to step the inside of the network changes slowly (Ma, Fang & Wang 2024, DeepCache). Here the rule is fixed, every k-th evaluation is
computed; TeaCache (Liu et al. 2025) decides by how much the input has changed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from course_utils.generators.flow import FlowGenerator

EVERY = 2  # evaluations from one that is computed to the next
LISTS = ("before", "blocks", "after")  # where networks keep their residual blocks


class Clock:
    """Counts a drawing's evaluations; `fresh` at every k-th, beginning with the first."""

    def __init__(self, every: int):
        self.every, self.count = every, -1

    @property
    def fresh(self) -> bool:
        return self.count % self.every == 0


class Reused(nn.Module):
    """A residual block that computes what it adds where the clock says so, and where the batch has changed; else it adds the last again."""

    def __init__(self, block: nn.Module, clock: Clock):
        super().__init__()
        self.block, self.clock = block, clock
        self.added: Tensor | None = None

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        if self.clock.fresh or self.added is None or self.added.shape != x.shape:
            out = self.block(x, *given)
            self.added = out - x
            return out
        return x + self.added


def reuse(generator: FlowGenerator, every: int = EVERY) -> FlowGenerator:
    """Computes all blocks at every k-th evaluation of a drawing, and at the others the first and the last alone."""
    clock, model, draw = Clock(every), generator.model, generator.draw
    places = [(blocks, i) for name in LISTS for blocks in [getattr(model, name, [])] for i in range(len(blocks))]
    for blocks, i in places[1:-1]:
        blocks[i] = Reused(blocks[i], clock)

    def count(*_: Any) -> None:
        clock.count += 1

    def from_the_beginning(*given: Any) -> Any:
        clock.count = -1
        return draw(*given)

    model.register_forward_pre_hook(count)
    generator.draw = from_the_beginning  # type: ignore[method-assign, assignment]
    return generator
