"""CLIP (Radford et al. 2021): pictures and captions become vectors of one space, where those that belong together point the same way.

Config, picture encoder, model, loss; at the end a trained one at work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.language.tokenizer import Tokenizer
from course_utils.models.text_encoder import TextEncoder, TextEncoderConfig
from course_utils.weights import config_from, load_weights


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of both encoders, and where the temperature begins and must stop."""

    channels: tuple[int, int, int] = (32, 64, 80)
    features: int = 128  # numbers in a vector of the shared space
    pixels: int = 32  # side of the pictures, a multiple of 16
    text: TextEncoderConfig = field(default_factory=lambda: TextEncoderConfig(width=64, depth=2))
    temperature: float = 0.07  # at the start; section 2.5 of the paper
    coldest: float = 0.01


class PictureEncoder(nn.Module):
    """Pictures (B, 3, P, P) in [-1, 1] to vectors (B, F): convolutions down to 4 x 4 places, all of which the last layer sees.

    A mean over the places would forget which thing is left and which is right.
    """

    def __init__(self, channels: tuple[int, int, int], features: int, pixels: int):
        super().__init__()
        a, b, c = channels
        block = pixels // 16

        def layer(inside: int, outside: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.SiLU()]

        self.body = nn.Sequential(
            nn.PixelUnshuffle(block),  # (B, 3 block², 16, 16)
            *layer(3 * block**2, a, 1),
            *layer(a, a, 1),
            *layer(a, b, 2),
            *layer(b, b, 1),
            *layer(b, c, 2),  # (B, c, 4, 4)
            *layer(c, c, 1),
            nn.Flatten(),
            nn.Linear(16 * c, features),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


class Clip(nn.Module):
    """Two encoders and a temperature that is learned; `images` and `captions` give vectors of length 1."""

    def __init__(self, config: ClipConfig | None = None):
        super().__init__()
        self.config = config = config or ClipConfig()
        self.picture = PictureEncoder(config.channels, config.features, config.pixels)
        self.text = TextEncoder(config.text)
        self.project = nn.Linear(config.text.width, config.features, bias=False)
        # the logarithm of 1 / temperature: whatever is learned, the temperature is positive
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def images(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, P, P) in [-1, 1] to vectors (B, F) of length 1."""
        return F.normalize(self.picture(images), dim=-1)

    def captions(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) of captions to vectors (B, F) of length 1."""
        return F.normalize(self.project(self.text(tokens).pooled), dim=-1)

    def scale(self) -> Tensor:
        """1 / temperature, at most 1 / `coldest`."""
        return self.log_scale.clamp(max=-math.log(self.config.coldest)).exp()

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.images(images), self.captions(tokens)


def contrastive_loss(a: Tensor, b: Tensor, scale: Tensor | float, same: Tensor | None = None) -> Tensor:
    """The mean of two classifications: for each a which b is its own, and for each b which a (equation 13.3 of lesson 13).

    a, b: (B, F), rows of length 1; those with one number belong together. same (B, B) is True where row i of a also fits row
    j of b though the batch does not say so: such a pair counts as no answer, neither right nor wrong.
    """
    logits = scale * a @ b.T  # (B, B)
    own = torch.eye(len(a), dtype=torch.bool, device=a.device)
    if same is not None:
        logits = logits.masked_fill(same & ~own, -math.inf)
    answer = torch.arange(len(a), device=a.device)
    return (F.cross_entropy(logits, answer) + F.cross_entropy(logits.T, answer)) / 2


def duplicates(images: Tensor, tokens: Tensor) -> Tensor:
    """(B, B), True where two rows of a batch have the same picture or the same caption, and so fit each other."""

    def equal(rows: Tensor) -> Tensor:
        number = torch.unique(rows.flatten(1), dim=0, return_inverse=True)[1]
        return number[:, None] == number

    return equal(images) | equal(tokens)


def clip_loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The contrastive loss of a batch {"data": (B, 3, P, P) in [-1, 1], "tokens": (B, T)}, duplicates masked."""
    images, tokens = batch["data"], batch["tokens"]
    a, b = model(images, tokens)
    scale = model.scale()  # type: ignore[operator]
    same = duplicates(images, tokens)
    found = (a @ b.T).argmax(1) == torch.arange(len(a), device=a.device)
    masked = (same.sum() - len(a)) / 2
    return contrastive_loss(a, b, scale, same), {
        "found": found.float().mean(),  # of the batch's pictures, by how many the own caption is nearest
        "temperature": 1 / scale.detach(),
        "masked": masked.float(),
    }


@dataclass(frozen=True)
class Matcher:
    """A trained CLIP with its tokenizer: pictures and texts to vectors of length 1, whose product is their cosine."""

    model: Clip
    tokenizer: Tokenizer

    @classmethod
    def load(cls, name: str | Path = "clip-shapes") -> Matcher:
        """From weights that `train clip` has written. Raises CourseError if they are missing, damaged or of another kind."""
        weights = load_weights(name, "clip")
        model = Clip(config_from(ClipConfig, weights.card["config"]))
        model.load_state_dict(weights.part("clip"))
        return cls(model.eval(), Tokenizer(weights.card["tokenizer"]))

    @torch.inference_mode()
    def pictures(self, images: Tensor, batch_size: int = 256) -> Tensor:
        """Pictures (N, 3, P, P) in [0, 1] to vectors (N, F)."""
        return torch.cat([self.model.images(part * 2 - 1) for part in images.split(batch_size)])

    @torch.inference_mode()
    def texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """N texts to vectors (N, F)."""
        longest = self.model.config.text.longest
        parts = (list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size))
        return torch.cat([self.model.captions(self.tokenizer.batch(part, longest)) for part in parts])

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """CLIP score of N pictures in [0, 1] and their N texts: the cosine, (N,) in [-1, 1].

        Hessel et al. 2021 multiply it by 2.5 and cut it at 0, which changes no order among those above.
        """
        return (self.pictures(images) * self.texts(texts)).sum(1)
