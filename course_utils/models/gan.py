"""Generative adversarial networks (Goodfellow et al. 2014, arXiv:1406.2661; convolutional: Radford et al. 2016, arXiv:1511.06434).

Config, parts, model, losses. The generator makes x of noise z ~ N(0, 1); the discriminator answers x with a *logit*, whose
sigmoid D(x) is the chance that x is real. Every logarithm is natural.

Letters: B pictures or points, P coordinates of a point, C H W a picture. A picture lies in [-1, 1]; a point may be anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.common import CourseError

SLOPE = 0.2  # of the leaky ReLU below zero, as in DCGAN


@dataclass(frozen=True)
class GANConfig:
    """Sizes of the two networks.

    Without `channels` both are perceptrons with these hidden layers, for points (shape (P,)) or small pictures. With `channels`
    they are convolutional: the generator doubles height and width with each entry, the discriminator halves them.
    Raises CourseError if the sizes do not fit.
    """

    shape: tuple[int, ...] = (2,)  # P coordinates of a point, or C, H, W of a picture
    latents: int = 8
    hidden: tuple[int, ...] = (128, 128)
    channels: tuple[int, ...] = ()  # of the generator, from the coarsest

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or min(self.shape) < 1 or self.latents < 1:
            raise CourseError(
                f"GANConfig needs the shape (P,) of points or (C, H, W) of pictures and at least one latent; "
                f"it got {self.shape} and {self.latents}."
            )
        factor = 2 ** len(self.channels)
        if self.channels and (len(self.shape) != 3 or self.shape[1] % factor or self.shape[2] % factor):
            raise CourseError(
                f"Convolutions need pictures (C, H, W) that can be halved {len(self.channels)} times; "
                f"the shape is {self.shape}. Give `channels` fewer entries, or none."
            )

    @property
    def coarsest(self) -> tuple[int, int, int]:
        """Channels, height and width where the generator's convolutions begin."""
        factor = 2 ** len(self.channels)
        return self.channels[0], self.shape[1] // factor, self.shape[2] // factor


# ----------------------------------------------------------------------------------------------------------------- parts


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with leaky ReLU between them: (B, sizes[0]) to (B, sizes[-1])."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers[:-1])


def enlarge(config: GANConfig) -> nn.Sequential:
    """(B, latents) to (B, C, H, W): transposed convolutions, each twice as wide and high.

    DCGAN's batch norm is left out: it makes a picture depend on the others of its batch.
    """
    layers: list[nn.Module] = [nn.Linear(config.latents, math.prod(config.coarsest)), nn.Unflatten(1, config.coarsest)]
    for a, b in pairwise((*config.channels, config.shape[0])):
        layers += [nn.LeakyReLU(SLOPE), nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)]
    return nn.Sequential(*layers)


def shrink(config: GANConfig) -> nn.Sequential:
    """(B, C, H, W) to (B, 1): convolutions, each half as wide and high."""
    layers: list[nn.Module] = []
    for a, b in pairwise((config.shape[0], *reversed(config.channels))):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(math.prod(config.coarsest), 1))


# ----------------------------------------------------------------------------------------------------------------- model


class GANGenerator(nn.Module):
    """Noise to points or pictures."""

    def __init__(self, config: GANConfig | None = None):
        super().__init__()
        self.config = config = config or GANConfig()
        if config.channels:
            self.network = enlarge(config)
        else:
            sizes = (config.latents, *config.hidden, math.prod(config.shape))
            self.network = nn.Sequential(perceptron(sizes), nn.Unflatten(1, config.shape))

    def forward(self, z: Tensor) -> Tensor:
        """Noise (B, latents) to (B, *shape): pictures in (-1, 1) by tanh, points as they come."""
        x = self.network(z)
        return x.tanh() if len(self.config.shape) == 3 else x

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n points or pictures of fresh noise, (n, *shape); without `generator` it comes from torch's global one."""
        where = next(self.parameters())
        device = generator.device if generator else where.device  # noise is drawn where its generator lives
        z = torch.randn(n, self.config.latents, generator=generator, device=device, dtype=where.dtype)
        return self(z.to(where.device))


class Discriminator(nn.Module):
    """Points or pictures to one logit each: how much the input looks real."""

    def __init__(self, config: GANConfig | None = None):
        super().__init__()
        self.config = config = config or GANConfig()
        if config.channels:
            self.network = shrink(config)
        else:
            self.network = nn.Sequential(nn.Flatten(), perceptron((math.prod(config.shape), *config.hidden, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) to logits (B,); D(x) is their sigmoid."""
        return self.network(x).squeeze(1)


def pair(config: GANConfig, seed: int) -> tuple[GANGenerator, Discriminator]:
    """A generator and a discriminator whose first weights depend on the seed alone; torch's global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return GANGenerator(config), Discriminator(config)


# ---------------------------------------------------------------------------------------------------------------- losses


def value(real: Tensor, fake: Tensor) -> Tensor:
    """V = E[log D(x)] + E[log(1 - D(G(z)))] of logits (B,): what the discriminator makes large (Goodfellow et al., eq. 1)."""
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-V of logits (B,): the sum of two binary cross-entropies, real with target 1 and fake with target 0."""
    return -value(real, fake)


def saturating_loss(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))] of logits (B,): the generator's part of V, which it makes small."""
    return F.logsigmoid(-fake).mean()


def non_saturating_loss(fake: Tensor) -> Tensor:
    """-E[log D(G(z))] of logits (B,) (Goodfellow et al., section 3)."""
    return -F.logsigmoid(fake).mean()


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """E[|gradient of the logit in x|²] over inputs (B, ...), zero-centred (Mescheder et al. 2018, arXiv:1801.04406).

    On real inputs it is R1, on generated ones R2; a loss takes it times gamma / 2.
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()
