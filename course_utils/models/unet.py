"""A small U-Net that turns noise into pictures: down to a coarse map, up again, with a bridge at each size.

Config, block, model. Ronneberger, Fischer & Brox 2015, with the residual blocks and the time of Ho, Jain & Abbeel 2020. Time runs
from t = 0 (noise) to t = 1 (data), as everywhere in the course.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_utils.models.layers import sincos


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the U-Net. Each level but the last halves height and width, which must allow it."""

    channels: int = 1
    widths: tuple[int, ...] = (16, 32)
    groups: int = 4  # of the group norm


class ResBlock(nn.Module):
    """Two convolutions around the time; what goes in is added to what comes out."""

    def __init__(self, inputs: int, outputs: int, time: int, groups: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, inputs), nn.GroupNorm(groups, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(cond)[..., None, None].chunk(2, 1)  # each (B, C, 1, 1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class UNet(nn.Module):
    """answer = model(x_t, t): x_t (B, C, H, W), t (B,) in [0, 1] -> (B, C, H, W)."""

    def __init__(self, config: UNetConfig | None = None):
        super().__init__()
        self.config = config = config or UNetConfig()
        widths, time, groups = config.widths, 4 * config.widths[0], config.groups
        self.time = nn.Sequential(nn.Linear(256, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.first = nn.Conv2d(config.channels, widths[0], 3, padding=1)
        before = [widths[0], *widths]
        self.down = nn.ModuleList(ResBlock(before[k], width, time, groups) for k, width in enumerate(widths))
        self.middle = ResBlock(widths[-1], widths[-1], time, groups)
        # on the way up each block also gets, over the bridge, what its level put out on the way down
        self.up = nn.ModuleList(ResBlock(2 * width, before[k], time, groups) for k, width in enumerate(widths))
        self.norm = nn.GroupNorm(groups, widths[0])
        self.last = nn.Conv2d(widths[0], config.channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        cond = self.time(sincos(1000 * t, 256).to(x.dtype))
        h, bridges = self.first(x), []
        for level, block in enumerate(self.down):
            h = block(F.avg_pool2d(h, 2) if level else h, cond)
            bridges.append(h)
        h = self.middle(h, cond)
        for level, block in reversed(list(enumerate(self.up))):
            h = block(torch.cat([h, bridges[level]], 1), cond)
            h = F.interpolate(h, scale_factor=2.0) if level else h
        return self.last(F.silu(self.norm(h)))
