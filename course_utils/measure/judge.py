"""The judge: reads from a picture which scene it shows, how sure it is, and whether it is a scene at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_utils.measure.sizes import resized
from course_utils.measure.worlds import SHAPES, Measured, measured
from course_utils.models.judge import JudgeConfig, JudgeNetwork
from course_utils.weights import config_from, load_weights

MOST = 4  # objects looked for; a scene has at most three


@dataclass(frozen=True)
class Reading:
    """What the judge reads: the scene (None if there is none to name), and its certainty in [0, 1].

    `certainty` is the least probability among all that was decided: that this is a scene, that each object is there, sound,
    and no other there, each of its attributes, the background. Where it is too small the judge cannot tell: `scene` is None.
    """

    scene: Any
    certainty: float
    of: Measured = field(default=SHAPES, repr=False)

    def shows(self, asked: Any) -> bool:
        """Whether the picture shows what a (partial) scene asks for. "Cannot tell" is a no."""
        return self.scene is not None and self.of.matches(asked, self.scene)


class Judge:
    """Reads pictures of a world. Below the certainty `certain` it cannot tell what one shows."""

    def __init__(self, network: JudgeNetwork, certain: float = 0.5, of: Measured = SHAPES):
        self.network, self.certain, self.of = network.eval(), certain, of

    @classmethod
    def load(cls, name: str = "judge") -> Judge:
        """The shipped judge, with the threshold in its card. Raises CourseError if its weights are missing or damaged."""
        weights = load_weights(name, "judge")
        network = JudgeNetwork(config_from(JudgeConfig, weights.card["config"]))
        network.load_state_dict(weights.part("judge"))
        return cls(network, weights.card.get("certain", 0.5), measured(weights.card.get("world", "shapes")))

    @torch.inference_mode()
    def read(self, images: Tensor, batch_size: int = 256) -> list[Reading]:
        """A reading for each of the pictures (N, 3, P, P) in [0, 1], brought to the size that the judge was trained in.

        Raises CourseError for other shapes.
        """
        side = self.network.config.pixels
        return [reading for part in images.split(batch_size) for reading in self._read(resized(part, side))]

    def _read(self, images: Tensor) -> list[Reading]:
        cells, whole = self.network(images)
        grid = cells.shape[-1]
        there = cells[:, 0].sigmoid()  # (B, 16, 16)
        blob = 4 * F.avg_pool2d(there[:, None], 2, 1)  # (B, 1, 15, 15): about 1 where an object's four cells lie
        top = blob == F.max_pool2d(blob, 3, 1, 1)
        score, at = (blob * top).flatten(1).topk(MOST)  # (B, 4)
        row, column = at // (grid - 1), at % (grid - 1)
        corner = torch.stack([row * grid + column + d for d in (0, 1, grid, grid + 1)], 2)  # (B, 4, 4 cells)
        share = there.flatten(1).gather(1, corner.flatten(1)).view_as(corner)
        share = share / share.sum(2, keepdim=True).clamp_min(1e-6)
        x = ((corner % grid + 0.5) * share).sum(2) / grid
        y = ((corner // grid + 0.5) * share).sum(2) / grid
        logits = cells[:, 1:].flatten(2)  # (B, 22, 256) in `shapes`
        index = corner.flatten(1)[:, None].expand(-1, logits.shape[1], -1)
        seen = (logits.gather(2, index).unflatten(2, (MOST, 4)) * share[:, None]).sum(3)  # (B, 22, 4)
        parts = [part.softmax(1).max(1) for part in seen[:, 1:].split(self.network.config.attributes, 1)]
        ground = whole[:, 1:].softmax(1).max(1)
        rows = zip(
            score.tolist(),
            x.tolist(),
            y.tolist(),
            seen[:, 0].sigmoid().tolist(),
            torch.stack([p.values for p in parts], 2).tolist(),
            torch.stack([p.indices for p in parts], 2).tolist(),
            ground.values.tolist(),
            ground.indices.tolist(),
            whole[:, 0].sigmoid().tolist(),
            strict=True,
        )
        return [self._interpret(*row) for row in rows]

    def _interpret(self, score, x, y, sound, sure, value, ground_sure, ground, valid) -> Reading:
        count = sum(s > 0.5 for s in score)
        certainty = min(
            valid,
            ground_sure,
            *(min(1.0, s) for s in score[:count]),
            *sound[:count],
            *(min(k) for k in sure[:count]),
            *(1 - s for s in score[count:]),
        )
        if not 1 <= count <= 3 or certainty < self.certain:
            return Reading(None, certainty if 1 <= count <= 3 else 0.0, self.of)
        names = self.of.attributes.values()
        things = [self.of.thing(*(n[v] for n, v in zip(names, value[j], strict=True))) for j in range(count)]
        at = list(zip(x[:count], y[:count], strict=True))
        return Reading(self.of.scene_of(things, at, self.of.backgrounds[ground]), certainty, self.of)
