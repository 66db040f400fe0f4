"""The judge's network: looks at a picture and says which objects are where, on what background, and whether it is a scene.

Config, network, loss. Each object is a blob on a 16x16 grid: its centre is spread over the four nearest cells by bilinear
weights, so that the centre of mass of the blob gives back the exact place. At the same cells the network says what the
object is, and whether it is sound or malformed. One more output says whether the picture is a proper scene at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class JudgeConfig:
    """Sizes of the judge, and what it tells apart."""

    attributes: tuple[int, ...] = (2, 3, 8, 8)  # how many sizes, fills, colours, shapes
    names: tuple[str, ...] = ("size", "fill", "colour", "shape")
    backgrounds: int = 5
    channels: tuple[int, int] = (48, 96)  # at 16x16 and 8x8
    depth: int = 3
    pixels: int = 32  # side of the pictures, a multiple of 16


class ResidualBlock(nn.Module):
    """silu(x + two convolutions of x), each with batch norm (He et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.body(x))


class JudgeNetwork(nn.Module):
    """Pictures (B, 3, P, P) in [0, 1] to `cells` (B, 2 + attributes, 16, 16) and `whole` (B, 1 + backgrounds), all logits.

    `cells[:, 0]`: is an object's centre here; `cells[:, 1]`: is it sound; the rest: its attributes. `whole[:, 0]`: is this a
    scene; the rest: background.
    """

    def __init__(self, config: JudgeConfig | None = None):
        super().__init__()
        self.config = config = config or JudgeConfig()
        a, b = config.channels

        def layer(inside: int, outside: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.SiLU()]

        self.body = nn.Sequential(
            nn.PixelUnshuffle(config.pixels // 16),  # (B, 12, 16, 16) of 32 pixels
            *layer(3 * (config.pixels // 16) ** 2, a, 1),
            ResidualBlock(a),
            *layer(a, b, 2),  # (B, b, 8, 8)
            *(ResidualBlock(b) for _ in range(config.depth)),
        )
        cells = nn.Conv2d(b, 4 * (2 + sum(config.attributes)), 1)
        self.cells = nn.Sequential(cells, nn.PixelShuffle(2))
        self.whole = nn.Linear(2 * b, 1 + config.backgrounds)
        with torch.no_grad():
            cells.bias[:4] = -5.0  # type: ignore[index]  # most cells hold no object's centre

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(images * 2 - 1)
        return self.cells(x), self.whole(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


def judge_loss(network: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropies of everything the judge says, summed.

    batch: images (B, 3, P, P) in [0, 1]; valid (B,) 1 for scenes, 0 for pictures that are none, of which only this is asked,
    and -1 for scenes with a malformed object, of which this is not asked; centre (B, K, 2) x and y in [0, 1]; sound (B, K) 1
    for objects, 0 for malformed ones, -1 for absent ones; attributes (B, K, A) indices, -1 for what is not asked;
    background (B,).
    """
    cells, whole = network(batch["images"])
    sound, known = batch["sound"], (batch["valid"] != 0).float()
    there, present = sound >= 0, batch["attributes"][..., 0] >= 0  # (B, K)
    blobs = splat(batch["centre"], cells.shape[-1])  # (B, K, 256), each sums to one
    logits = cells.flatten(2)  # (B, 23, 256)
    target = (blobs * there[..., None]).sum(1)
    seen = F.binary_cross_entropy_with_logits(logits[:, 0], target, reduction="none").sum(1)
    scenes = known.sum().clamp_min(1)
    losses = {"objects": (seen * known).sum() / scenes}
    well = torch.einsum("bkc,bc->bk", blobs, logits[:, 1])
    well = F.binary_cross_entropy_with_logits(well, sound.clamp_min(0), reduction="none")
    losses["sound"] = (well * there).sum() / there.sum().clamp_min(1)
    config: JudgeConfig = network.config  # type: ignore[assignment]
    names, at = config.names, 2
    for k, n in enumerate(config.attributes):
        logp = logits[:, at : at + n].log_softmax(1)
        expected = torch.einsum("bkc,bnc->bkn", blobs, logp)  # log-probability of each value, averaged over the blob
        right = expected.gather(2, batch["attributes"][..., k].clamp_min(0)[..., None])[..., 0]
        losses[names[k]] = -(right * present).sum() / present.sum().clamp_min(1)
        at += n
    ground = F.cross_entropy(whole[:, 1:], batch["background"], reduction="none")
    losses["background"] = (ground * known).sum() / scenes
    whole_asked = batch["valid"] >= 0
    valid = F.binary_cross_entropy_with_logits(whole[:, 0], batch["valid"].clamp_min(0), reduction="none")
    losses["valid"] = (valid * whole_asked).sum() / whole_asked.sum().clamp_min(1)
    total = losses["objects"] + sum(losses[n] for n in names) + losses["background"]
    total = total + losses["valid"] + 4 * losses["sound"]  # the hardest to learn
    return total, {name: value.detach() for name, value in losses.items()}


def splat(centre: Tensor, grid: int) -> Tensor:
    """Bilinear weights (B, K, grid * grid) of centres (B, K, 2) in [0, 1]: each row sums to one on four neighbouring cells."""
    cells = torch.arange(grid, device=centre.device)
    x, y = ((1 - (centre[..., axis, None] * grid - 0.5 - cells).abs()).clamp_min(0) for axis in (0, 1))
    return (y[..., :, None] * x[..., None, :]).flatten(-2)
