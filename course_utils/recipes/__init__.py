"""What `train` can train, one recipe a file: the model, its loss, its data, its schedule.

A recipe is a module with `recipe(args) -> Recipe`, its parts built only when asked for, and, where it has options of its own,
`add_arguments(parser)`. The order of RECIPES is the order in which `train all` makes what ships; `clip` is trained by itself.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from course_utils.common import CourseError
from course_utils.recipes.fingerprints import fingerprint, of_weights
from course_utils.training import Callback, TrainConfig
from course_utils.worlds.captioned import Captioned

RECIPES = ("features", "judge", "autoencoder", "clip", "gpt", "flow", "distil")


@dataclass(frozen=True)
class Recipe:
    """What `train` needs to know to train one thing."""

    name: str  # of the weights, and of the run's folder
    kind: str  # of the weights, and the name of their trained part
    model: nn.Module
    loss: Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, Tensor | float]]]
    batches: Callable[[int, int, torch.Generator], Any]
    config: TrainConfig
    card: dict[str, Any]
    fixed: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)  # parts of the weights that are not trained
    data: str = ""  # what its data are, with their fingerprints
    built_on: Sequence[str] = ()  # weights that it needs: their histories go into the card
    callbacks: Sequence[Callback] = ()
    world: Captioned | None = None  # a generator's pictures and captions

    def parts(self, trained: nn.Module) -> dict[str, Mapping[str, Tensor]]:
        """What goes into the weights file."""
        return {self.kind: trained.state_dict(), **self.fixed}

    def identity(self) -> dict[str, Any]:
        """What a run that goes on must have in common with itself before, besides its TrainConfig: JSON values."""
        built_on = {part: of_weights(state) for part, state in self.fixed.items()}
        tokenizer = fingerprint(self.card.get("tokenizer", ()))
        return {"model": self.card["config"], "data": self.data, "tokenizer": tokenizer, **built_on}


class Module(Protocol):
    """A recipe's file."""

    def recipe(self, args: argparse.Namespace) -> Recipe: ...


def module(name: str) -> Any:
    """The file of a recipe."""
    return importlib.import_module(f"course_utils.recipes.{name}")


def only_in(args: argparse.Namespace, worlds: Collection[str]) -> None:
    """Raises CourseError for what exists in some worlds only."""
    if args.world not in worlds:
        raise CourseError(
            f"`{args.what}` is trained in {'the world ' if len(worlds) == 1 else 'the worlds '}{' and '.join(worlds)} only; "
            f"leave out --world {args.world}."
        )
