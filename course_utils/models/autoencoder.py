"""An autoencoder to a small grid of latents: 32x32x3 pixels become 8x8x8 numbers, six times fewer.

Config, parts, model, loss. The latents have zero mean and unit variance per channel (a batch norm without parameters
sees to that), so that a generator can start from standard normal noise; a little noise on them in training keeps
neighbouring latents meaningful.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the autoencoder."""

    channels: tuple[int, int] = (40, 112)  # at 1/2 and at 1/4 of the picture's resolution
    depth: tuple[int, int] = (1, 2)  # residual blocks of the encoder at each
    decoder_depth: tuple[int, int] = (3, 3)  # and of the decoder, where sharpness is made
    latent_channels: int = 8
    latent_noise: float = 0.08


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution starting at zero: at first the block does nothing."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class Autoencoder(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to latents (B, 8, H/4, W/4) of unit variance, and back."""

    def __init__(self, config: AutoencoderConfig | None = None):
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        (a, b), (m, n) = config.channels, config.depth
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 12, H/2, W/2)
            nn.Conv2d(12, a, 3, padding=1),
            *(ResidualBlock(a) for _ in range(m)),
            nn.Conv2d(a, b, 3, stride=2, padding=1),  # (B, b, H/4, W/4)
            *(ResidualBlock(b) for _ in range(n)),
            nn.SiLU(),
            nn.Conv2d(b, config.latent_channels, 1),
        )
        self.normalise = nn.BatchNorm2d(config.latent_channels, affine=False, momentum=0.01)
        m, n = config.decoder_depth
        self.decoder = nn.Sequential(
            OrderedDict(
                spread=nn.Conv2d(config.latent_channels, b, 3, padding=1),
                coarse=nn.Sequential(*(ResidualBlock(b) for _ in range(n))),
                enlarge=nn.Sequential(nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2)),  # (B, a, H/2, W/2)
                fine=nn.Sequential(*(ResidualBlock(a) for _ in range(m))),
                paint=nn.Sequential(nn.SiLU(), nn.Conv2d(a, 12, 3, padding=1), nn.PixelShuffle(2)),  # (B, 3, H, W)
            )
        )

    def encode(self, images: Tensor) -> Tensor:
        """Pictures in [-1, 1] to latents with mean 0 and variance 1 per channel."""
        return self.normalise(self.encoder(images))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pictures, nearly in [-1, 1]; clamp them before showing."""
        return self.decoder(latents)

    def forward(self, images: Tensor) -> Tensor:
        """The round trip; in training with noise on the latents."""
        latents = self.encode(images)
        if self.training:
            latents = latents + self.config.latent_noise * torch.randn_like(latents)
        return self.decode(latents)


def autoencoder_loss(model: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean absolute error of the round trip of pictures (B, 3, H, W) in [-1, 1], and that of its edges, EDGES times.

    Edges are the differences of neighbouring pixels. Most of a picture is flat, so that without this term the tips of a small
    star hardly count (gradient loss: Mathieu et al. 2016).
    """
    error = model(images) - images
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + EDGES * edges, {"mse": error.detach().square().mean(), "edges": edges.detach()}


EDGES = 0.5
