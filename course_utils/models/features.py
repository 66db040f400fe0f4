"""A feature network that no label has ever told anything: it learns that two views of one picture belong together.

Barlow Twins (Zbontar et al. 2021): over a batch, each feature of one view should agree with the same feature of the other
view and with no other feature. Fidelity and diversity are measured in what it learns, not in what the judge knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class FeaturesConfig:
    """Sizes of the feature network."""

    channels: tuple[int, int, int] = (32, 64, 96)
    features: int = 128
    projection: int = 256
    redundancy: float = 0.01  # weight of the features' agreement with one another
    pixels: int = 32  # side of the pictures, a multiple of 16


class FeatureNetwork(nn.Module):
    """Pictures (B, 3, P, P) in [0, 1] to features (B, 128); the projection is used in training only."""

    def __init__(self, config: FeaturesConfig | None = None):
        super().__init__()
        self.config = config = config or FeaturesConfig()
        a, b, c = config.channels

        def layer(inside: int, outside: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.SiLU()]

        self.body = nn.Sequential(
            nn.PixelUnshuffle(config.pixels // 16),
            *layer(3 * (config.pixels // 16) ** 2, a, 1),
            *layer(a, b, 2),
            *layer(b, b, 1),
            *layer(b, c, 2),  # (B, c, 4, 4)
            *layer(c, c, 1),
            nn.Flatten(),
            nn.Linear(16 * c, config.features),
        )
        self.project = nn.Sequential(
            nn.BatchNorm1d(config.features), nn.SiLU(), nn.Linear(config.features, config.projection, bias=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images * 2 - 1)


def two_views(images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Two changed copies of pictures (B, 3, P, P) in [0, 1]: shifted by up to a sixteenth, brighter or darker, noisy."""
    side = images.shape[-1]
    most = side // 16

    def view() -> Tensor:
        dx, dy = torch.randint(0, 2 * most + 1, (2,)).tolist()
        moved = F.pad(images, (most,) * 4, mode="replicate")[..., dy : dy + side, dx : dx + side]
        light = 1 + 0.16 * (torch.rand(len(images), 1, 1, 1, device=images.device) - 0.5)
        return (moved * light + 0.04 * torch.randn_like(moved)).clamp(0, 1)

    return view(), view()


def barlow_twins_loss(network: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared distance of the cross-correlation matrix of two views' features from the identity (equation 1 of the paper)."""
    views = torch.cat(two_views(images))
    z = network.project(network(views))  # type: ignore[operator]
    a, b = ((v - v.mean(0)) / (v.std(0) + 1e-5) for v in z.chunk(2))
    correlation = a.T @ b / len(a)
    agree = (1 - correlation.diagonal()).square().sum()
    others = correlation.square().sum() - correlation.diagonal().square().sum()
    return agree + network.config.redundancy * others, {"agree": agree.detach(), "others": others.detach()}  # type: ignore
