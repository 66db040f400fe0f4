"""Variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114; Rezende et al. 2014, arXiv:1401.4082).

Config, parts, model, loss. Latents z have the prior p(z) = N(0, 1). The encoder answers a picture x with a Gaussian
q(z|x) = N(mean, exp(log_variance)), the decoder answers latents with a distribution over pictures p(x|z). Every logarithm is
natural and belongs to a whole picture: the unit is nats per picture.

Letters: K samples, B pictures, D latents, C H W a picture. `noise` (K, B, D) is standard normal; without it, it is drawn from
torch's global generator, as the training loop wants it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.common import CourseError

RANGES = {"bernoulli": (0.0, 1.0), "gaussian": (-1.0, 1.0)}  # of the pictures that each decoder explains
LOG_TWO_PI = math.log(2 * math.pi)
# Where a learned sigma starts. Its first gradients are large; Adam remembers their size, and then moves it slowly.
FIRST_SIGMA = 0.3


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the two networks, and what a pixel is given the latents.

    Without `channels` both networks are perceptrons with these hidden layers (none: linear maps). With `channels` they are
    convolutional; each entry halves height and width. Raises CourseError if the sizes do not fit.
    """

    shape: tuple[int, int, int] = (1, 8, 8)  # C, H, W of a picture
    latents: int = 8
    hidden: tuple[int, ...] = (256, 256)
    channels: tuple[int, ...] = ()
    decoder: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma: float | None = None  # deviation of a pixel around the Gaussian decoder's mean; None: one learned number

    def __post_init__(self) -> None:
        factor = 2 ** len(self.channels)
        if self.shape[1] % factor or self.shape[2] % factor:
            raise CourseError(
                f"Pictures of {self.shape[1]}x{self.shape[2]} cannot be halved {len(self.channels)} times; "
                "give `channels` fewer entries."
            )
        if self.decoder not in RANGES:
            raise CourseError(f"VAEConfig.decoder is {self.decoder!r}; it must be one of {', '.join(RANGES)}.")
        if self.latents < 1 or (self.sigma is not None and not self.sigma > 0):
            raise CourseError(
                f"VAEConfig needs at least one latent and a sigma above 0; it got {self.latents} and {self.sigma}."
            )

    @property
    def coarsest(self) -> tuple[int, int, int]:
        """Channels, height and width where the convolutions end."""
        factor = 2 ** len(self.channels)
        return self.channels[-1], self.shape[1] // factor, self.shape[2] // factor


# ----------------------------------------------------------------------------------------------------------------- parts


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with SiLU between them: (B, sizes[0]) to (B, sizes[-1])."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def shrink(config: VAEConfig) -> nn.Sequential:
    """Convolutional encoder: (B, C, H, W) to (B, 2 D)."""
    layers: list[nn.Module] = []
    for a, b in pairwise((config.shape[0], *config.channels)):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.SiLU()]  # half the height and width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(math.prod(config.coarsest), 2 * config.latents))


def enlarge(config: VAEConfig) -> nn.Sequential:
    """Convolutional decoder: (B, D) to (B, C, H, W)."""
    layers: list[nn.Module] = [nn.Linear(config.latents, math.prod(config.coarsest)), nn.Unflatten(1, config.coarsest)]
    for a, b in pairwise((*reversed(config.channels), config.shape[0])):
        layers += [nn.SiLU(), nn.Conv2d(a, 4 * b, 3, padding=1), nn.PixelShuffle(2)]  # twice the height and width
    return nn.Sequential(*layers)


# ----------------------------------------------------------------------------------------------------------------- model


class VAE(nn.Module):
    """Pictures to a Gaussian over latents, and latents to a distribution over pictures."""

    def __init__(self, config: VAEConfig | None = None):
        super().__init__()
        self.config = config = config or VAEConfig()
        pixels = math.prod(config.shape)
        if config.channels:
            self.encoder, self.decoder = shrink(config), enlarge(config)
        else:
            self.encoder = nn.Sequential(nn.Flatten(), perceptron((pixels, *config.hidden, 2 * config.latents)))
            back = perceptron((config.latents, *reversed(config.hidden), pixels))
            self.decoder = nn.Sequential(back, nn.Unflatten(1, config.shape))
        start = torch.tensor(math.log(FIRST_SIGMA if config.sigma is None else config.sigma))
        self.log_sigma = nn.Parameter(start, requires_grad=config.decoder == "gaussian" and config.sigma is None)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), (B, D) each, of pictures (B, C, H, W) in the decoder's range."""
        return self.encoder(images).chunk(2, dim=-1)

    def decode(self, z: Tensor) -> Tensor:
        """Latents (..., D) to what p(x|z) is made of, (..., C, H, W): Bernoulli logits, or Gaussian means."""
        return self.decoder(z.flatten(0, -2)).unflatten(0, z.shape[:-1])

    def log_likelihood(self, images: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), (..., B), of pictures (B, C, H, W) given latents (..., B, D). CourseError if the range is wrong."""
        if self.config.decoder == "bernoulli":
            return bernoulli_log_likelihood(self.decode(z), images)
        return gaussian_log_likelihood(self.decode(z), self.log_sigma, images)

    def pictures(self, z: Tensor) -> Tensor:
        """The mean of p(x|z) as pictures in [0, 1], (..., C, H, W), of latents (..., D): for showing."""
        output = self.decode(z)
        return output.sigmoid() if self.config.decoder == "bernoulli" else (output / 2 + 0.5).clamp(0, 1)


# ------------------------------------------------------------------------------------------------- log-probabilities


def bernoulli_log_likelihood(logits: Tensor, images: Tensor) -> Tensor:
    """Σ x log p + (1-x) log(1-p) with p = sigmoid(logits), (...,), over pixels (..., C, H, W) x in [0, 1].

    A grey x counts as the chance of ink: this is the average of log p(b|z) over black-and-white pictures b drawn from x.
    """
    check_range(images, "bernoulli")
    return (images * logits - F.softplus(logits)).flatten(-3).sum(-1)


def gaussian_log_likelihood(mean: Tensor, log_sigma: Tensor, images: Tensor) -> Tensor:
    """log N(x; mean, sigma²), (...,), summed over pixels (..., C, H, W) x in [-1, 1]; a density, so it may be positive."""
    check_range(images, "gaussian")
    squares = ((images - mean) / log_sigma.exp()).square()
    return -0.5 * (squares + 2 * log_sigma + LOG_TWO_PI).flatten(-3).sum(-1)


def check_range(images: Tensor, decoder: str) -> None:
    """Raises CourseError if pictures do not lie in the range that a decoder explains."""
    low, high = images.min().item(), images.max().item()  # waits for a GPU: the price of a clear error
    if not (RANGES[decoder][0] - 1e-4 <= low and high <= RANGES[decoder][1] + 1e-4):
        wanted = "[0, 1]" if decoder == "bernoulli" else "[-1, 1]"
        remedy = "" if low < -1.0001 or high > 1.0001 else " For pictures in [-1, 1] take (images + 1) / 2."
        raise CourseError(
            f"A {decoder} decoder explains pixels in {wanted}; these go from {low:.3g} to {high:.3g}.{remedy}"
        )


def normal_log_density(z: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | float = 0.0) -> Tensor:
    """log N(z; mean, exp(log_variance)), elementwise; shapes broadcast."""
    log_variance = torch.as_tensor(log_variance, dtype=z.dtype, device=z.device)
    return -0.5 * ((z - mean).square() / log_variance.exp() + log_variance + LOG_TWO_PI)


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, elementwise (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def reparameterise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mean + deviation * noise: a draw from q through which gradients pass; shapes broadcast to (K, B, D)."""
    return mean + (0.5 * log_variance).exp() * noise


# ------------------------------------------------------------------------------------------------------------------ loss


def elbo(
    model: VAE, images: Tensor, *, beta: float = 1.0, samples: int = 1, noise: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """E_q[log p(x|z)] - beta KL(q(z|x) || p(z)) of each picture: the evidence lower bound if beta is 1 (Higgins et al. 2017).

    The first term is a mean over `samples` draws, the second exact. Returns (B,), and its parts: reconstruction (B,), kl (B, D).
    """
    mean, log_variance = model.encode(images)
    noise = draw(mean, samples) if noise is None else noise
    reconstruction = model.log_likelihood(images, reparameterise(mean, log_variance, noise)).mean(0)
    kl = kl_to_prior(mean, log_variance)
    return reconstruction - beta * kl.sum(-1), {"reconstruction": reconstruction, "kl": kl}


def log_weights(model: VAE, images: Tensor, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z|x) at z drawn from q with `noise` (K, B, D); (K, B). Its mean estimates the ELBO."""
    mean, log_variance = model.encode(images)
    z = reparameterise(mean, log_variance, noise)
    log_joint = model.log_likelihood(images, z) + normal_log_density(z).sum(-1)
    return log_joint - normal_log_density(z, mean, log_variance).sum(-1)


def importance_bound(model: VAE, images: Tensor, samples: int = 50, *, noise: Tensor | None = None) -> Tensor:
    """log of the mean of `samples` importance weights, (B,): on average at least the ELBO, and at most log p(x).

    Burda, Grosse, Salakhutdinov 2016 (arXiv:1509.00519), section 3.
    """
    if noise is None:
        noise = torch.randn(samples, len(images), model.config.latents, device=images.device, dtype=images.dtype)
    return torch.logsumexp(log_weights(model, images, noise), 0) - math.log(len(noise))


def vae_loss(model: VAE, images: Tensor, beta: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Minus the mean ELBO of pictures (B, C, H, W), in nats per picture, and its two parts."""
    bound, parts = elbo(model, images, beta=beta)
    details = {"reconstruction": parts["reconstruction"].mean(), "kl": parts["kl"].sum(-1).mean()}
    return -bound.mean(), {name: value.detach() for name, value in details.items()}


def importance_loss(model: VAE, images: Tensor, samples: int = 8) -> tuple[Tensor, dict[str, Tensor]]:
    """Minus the mean importance-weighted bound: what an IWAE minimises."""
    return -importance_bound(model, images, samples).mean(), {}


def draw(mean: Tensor, samples: int) -> Tensor:
    """Standard normal noise (samples, *mean.shape) on the device of `mean`."""
    return torch.randn(samples, *mean.shape, device=mean.device, dtype=mean.dtype)


# --------------------------------------------------------------------------------------------------------- what it learned


@torch.no_grad()
def kl_per_latent(model: VAE, images: Tensor) -> Tensor:
    """Nats that each latent says of a picture, on average over pictures (B, C, H, W); (D,)."""
    return kl_to_prior(*model.encode(images)).mean(0)


@torch.no_grad()
def active_units(model: VAE, images: Tensor, threshold: float = 0.01) -> Tensor:
    """Which latents are in use: the variance over pictures of q's mean is above the threshold; (D,) bool.

    Burda, Grosse, Salakhutdinov 2016, section 5.2.
    """
    return model.encode(images)[0].var(0) > threshold
