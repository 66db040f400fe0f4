"""What is said to make a text-to-image model learn faster, each as a small piece that the model does not know of.

Where the noise levels of a batch lie; tokens that skip the middle of the network (TREAD); a middle layer that is told what a
self-supervised network sees (REPA); matrices moved along orthogonal directions (Muon); weights stored in half the bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.models.features import FeatureNetwork
from course_utils.training import TrainConfig
from course_utils.training.loop import make_optimiser

Times = Callable[[int, torch.device], Tensor]  # how many, where -> times (B,) in [0, 1]


def uniform(n: int, device: torch.device) -> Tensor:
    """Times at which all noise levels are equally likely (Lipman et al. 2023)."""
    return torch.rand(n, device=device)


def logit_normal(mean: float, spread: float) -> Times:
    """t = sigmoid(mean + spread z), z normal (Esser et al. 2024, section 3.1): a negative mean leans towards the noise."""
    return lambda n, device: (spread * torch.randn(n, device=device) + mean).sigmoid()


def velocity_error(model: nn.Module, batch: dict[str, Tensor], times: Times) -> Tensor:
    """`models.dit.flow_loss` with the times of one's choice: the mean squared error of the velocity."""
    data = batch["data"]
    noise = torch.randn_like(data)
    t = times(len(data), data.device)
    at = t[:, None, None, None]
    velocity = model((1 - at) * noise + at * data, t, batch["tokens"])
    return (velocity - (data - noise)).square().mean()


# ---------------------------------------------------------------------------------------------------------- TREAD


@contextlib.contextmanager
def routed(blocks: nn.ModuleList, share: float, first: int, last: int) -> Iterator[None]:
    """While this lasts, a random `share` of each picture's patches skips the blocks `first` to `last`, both included.

    They come back behind `last` as they were before `first`, so nothing is lost, and what is skipped is not computed. In training
    alone: all patches go through when one draws. Source: TREAD (Krause et al. 2025), which routes half of them.
    """
    kept: list[tuple[Tensor, Tensor]] = []

    def leave(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        h = inputs[0]  # (B, N, D)
        stay = h.shape[1] - round(share * h.shape[1])
        rows = torch.rand(h.shape[:2], device=h.device).argsort(1)[:, :stay, None].expand(-1, -1, h.shape[2])
        kept.append((h, rows))
        return (h.gather(1, rows), *inputs[1:])

    def join(_: nn.Module, __: tuple[Any, ...], out: Tensor) -> Tensor:
        h, rows = kept.pop()
        return h.scatter(1, rows, out)

    hooks = [blocks[first].register_forward_pre_hook(leave), blocks[last].register_forward_hook(join)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# ----------------------------------------------------------------------------------------------------------- REPA


@contextlib.contextmanager
def listening(block: nn.Module) -> Iterator[list[Tensor]]:
    """While this lasts, what the block puts out is appended to the list that is yielded."""
    heard: list[Tensor] = []
    hook = block.register_forward_hook(lambda _, __, out: heard.append(out))
    try:
        yield heard
    finally:
        hook.remove()


def alignment_loss(tokens: Tensor, targets: Tensor) -> Tensor:
    """1 - the cosine between tokens and targets, both (B, N, F), in the mean over pictures and patches: 0 for equal directions.

    Source: REPA (Yu et al. 2025, equation 8), there without the 1, which has no gradient.
    """
    return 1 - F.cosine_similarity(tokens, targets, dim=-1).mean()


def projector(width: int, features: int) -> nn.Sequential:
    """The small network between a block's tokens and the targets, thrown away after training (Yu et al. 2025)."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, features))


@torch.no_grad()
def feature_map(network: FeatureNetwork, images: Tensor) -> Tensor:
    """What a feature network sees at each of 4x4 places: pictures (B, 3, P, P) in [0, 1] to (B, 16, F), row by row."""
    maps = network.body[:-2](images * 2 - 1)  # before it is flattened to one vector: (B, F, 4, 4)
    return maps.flatten(2).transpose(1, 2)


# ------------------------------------------------------------------------------------------------------ optimisers


class Several(torch.optim.Optimizer):
    """Optimisers of different parameters as one: their groups lie side by side, and a step is a step of each."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def muon(model: nn.Module, config: TrainConfig) -> Several:
    """Muon for the matrices of transformer blocks, AdamW as ever for the rest.

    Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest orthogonal one, so that all its directions move
    equally far. It is scaled as Liu et al. 2025 do (section 2.2), by 0.2 √(longer side): entries then move about as far as AdamW's, and
    the learning rate can stay.
    """
    matrices = [
        layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and "blocks." in name and layer.weight.requires_grad
    ]
    chosen = {id(matrix) for matrix in matrices}
    rest = make_optimiser(model, config)
    for group in rest.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in chosen]
    rate, decay = config.learning_rate, config.weight_decay
    return Several(
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        rest,
    )


def stored_in_bf16(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW on weights that are rounded to bfloat16 after every step, as if only that were stored. No fp32 copy of them is kept.

    What is computed with them stays fp32, so that nothing but the storage is tried.
    """
    optimiser = make_optimiser(model, config)

    @torch.no_grad()
    def rounded(*_: Any) -> None:
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())

    rounded()
    optimiser.register_step_post_hook(rounded)
    return optimiser
