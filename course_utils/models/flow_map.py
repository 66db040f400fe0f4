"""A flow map: a generator's network that is told two times, where it is and where to go, and jumps there in one evaluation.

u(x, s, t, g) is the mean velocity from time s to time t along the paths of a teacher with guidance g: x_t = x_s + (t - s) u. At s = t it is
the teacher's velocity. The network is the teacher's; what is told beyond s comes in beside the time, by layers that begin at zero, so that at first the
student is the teacher. It learns a low-rank addition to each matrix (Hu et al. 2022), and so is a small file beside the teacher's.

Config, parts, model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from course_utils.common import CourseError
from course_utils.weights import load_weights


@dataclass(frozen=True)
class FlowMapConfig:
    """Whose student it is, and how much it may change."""

    teacher: str = "flow-shapes"
    sha256: str = ""  # of the teacher's weights: what was learned beside others means nothing
    rank: int = 8  # of what is added to each matrix and filter


class Times(nn.Module):
    """The teacher's features of the time, (B, 256) -> (B, D); of (B, K, 256) the others add what they have learned, at first nothing."""

    def __init__(self, time: nn.Module, width: int, others: int = 2):
        super().__init__()
        self.time = time
        self.others = nn.ModuleList(
            nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(others)
        )
        for other in self.others:
            nn.init.zeros_(other[-1].weight)  # type: ignore[index]
            nn.init.zeros_(other[-1].bias)  # type: ignore[index]

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim == 2:
            return self.time(features)
        first, *others = features.unbind(1)
        return sum((layer(one) for layer, one in zip(self.others, others, strict=True)), self.time(first))


class LowRank(nn.Module):
    """A weight (N, …) plus up (N, rank) @ down (rank, rest); up is zero at first."""

    def __init__(self, weight: Tensor, rank: int):
        super().__init__()
        columns = weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(len(weight), rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


class FlowMap(nn.Module):
    """u = student(x, s, t, guidance, tokens): x (B, C, S, S), s <= t (B,) in [0, 1], guidance (B,), tokens (B, T) -> (B, C, S, S).

    teacher: the network itself, where it is not to be loaded by its name. The text encoder stays the teacher's. Raises CourseError if the
    teacher that is here is not the one that it learned from.
    """

    def __init__(self, config: FlowMapConfig, teacher: Any = None):
        super().__init__()
        self.config = config
        if teacher is None:
            teacher = self.load_teacher()
        self.net = copy.deepcopy(teacher).requires_grad_(False)
        width = self.net.time[-1].out_features
        for name, layer in list(self.net.named_modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d) and not name.startswith("text."):
                parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, config.rank))
        self.net.time = Times(self.net.time, width)
        for name, p in self.named_parameters():
            p.requires_grad_(self.learns(name))

    def load_teacher(self) -> Any:
        """The teacher's network, if it is the one that the config means."""
        from course_utils.models import build

        weights = load_weights(self.config.teacher)
        if self.config.sha256 and weights.card["sha256"] != self.config.sha256:
            raise CourseError(
                f"These weights go beside other weights called {self.config.teacher!r} than those that are here; "
                "distil them anew with `train distil`."
            )
        return build(weights, weights.card["kind"], weights.card["config"])

    def text(self, tokens: Tensor) -> Any:
        """What the network hears of captions; it depends on no time."""
        return self.net.text(tokens)

    def forward(
        self, x: Tensor, s: Tensor, t: Tensor, guidance: Tensor, tokens: Tensor | None = None, text: Any = None
    ) -> Tensor:
        # The networks take the sine of 1,000 times what they are told: right for the time, far too fast for the others. A
        # length of 1 is heard at frequencies up to 10, so that the derivative in s is tame; a guidance of 1 at up to 1.
        times = torch.stack([s, (t - s) / 100, guidance / 1000], 1)
        return self.net(x, times, tokens, text=text)

    def trained(self) -> dict[str, Tensor]:
        """What the student has learned: all that goes into its file."""
        return {name: p for name, p in self.named_parameters() if self.learns(name)}

    def load_trained(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `trained` gave. Raises RuntimeError if it does not fit."""
        if set(state) != set(self.trained()):
            raise RuntimeError(f"the tensors are not those of a student of {self.config.teacher}")
        self.load_state_dict(state, strict=False)

    @staticmethod
    def learns(name: str) -> bool:
        """Whether a student learns the parameter of this name. (The average of a model in training has no gradients to tell by.)"""
        ours = name.endswith((".up", ".down", ".bias")) or name.startswith("net.time.others.")
        return ours and not name.startswith("net.text.")

    def merged(self) -> FlowMap:
        """The same function with the additions in the weights, as fast as the teacher; it can learn no more."""
        found = copy.deepcopy(self)
        for layer in list(found.net.modules()):
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return found.requires_grad_(False)
