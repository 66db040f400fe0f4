"""Paths of a teacher from noise to data, made once and kept on disk: students of one step and of four learn from the same ones, in later runs, too."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.common import atomic_path, course_home
from course_utils.counters import batch_seed
from course_utils.generators.flow import FlowGenerator
from course_utils.generators.solvers import SOLVERS
from course_utils.recipes.fingerprints import fingerprint
from course_utils.recipes.store import width
from course_utils.speed import flow_map
from course_utils.worlds.captioned import Captioned


class Paths:
    """`n` paths of a teacher (called `name`) in a world's captions: where it stands before each of its `steps`, and at the end.

    guidance: the lowest and the highest; each path has one between, drawn by chance. Paths lie in `COURSE_HOME/paths`, a file for each few
    (latents in 16 bits), so that making them goes on where it stopped. They are made, or read, when the first are asked for;
    `waited` counts those seconds. longest: tokens of a caption at most.
    """

    def __init__(
        self,
        world: Captioned,
        name: str,
        teacher: FlowGenerator,
        n: int,
        *,
        steps: int,
        solver: str,
        guidance: tuple[float, float],
        longest: int,
        seed: int = 0,
    ):
        self.world, self.teacher, self.n, self.steps, self.solver = world, teacher, n, steps, solver
        self.guidance, self.longest, self.seed = guidance, longest, seed
        about = (teacher.card["sha256"], world.name, *map(str, (world.n, steps, solver, guidance, longest, seed)))
        self.folder: Path = course_home() / "paths" / f"{name}-{fingerprint(about)}"
        self.waited = 0.0
        self.points = self.tokens = self.guided = torch.empty(0)

    def __call__(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n paths, drawn by chance: points (steps + 1, n, C, S, S), tokens (n, T) and guidance (n,), on the generator's device."""
        device = generator.device
        if not len(self.points):
            began = time.monotonic()
            self.gather(device)
            self.waited += time.monotonic() - began
        rows = torch.randint(self.n, (n,), generator=generator, device=device)
        tokens = self.tokens[rows].long()
        # on a GPU rows of tokens are always equally long, as compiled code wants it
        tokens = tokens if device.type == "cuda" else tokens[:, : width(tokens)]
        return self.points[rows].float().movedim(1, 0), tokens, self.guided[rows]

    def gather(self, device: torch.device) -> None:
        """Makes what is missing, and reads all."""
        many = 1024 if device.type == "cuda" else 128
        found = []
        for start in tqdm(range(0, self.n, many), desc="paths of the teacher", unit="batch", leave=False):
            count = min(many, self.n - start)
            file = self.folder / f"{start:08d}-{count}.safetensors"
            if not file.exists():
                with atomic_path(file) as part:
                    save_file(self.make(start, count, device), part)
            found.append(load_file(file, str(device)))
        self.points, self.tokens, self.guided = (
            torch.cat([one[name] for one in found]) for name in ("points", "tokens", "guidance")
        )

    @torch.no_grad()
    def make(self, start: int, count: int, device: torch.device) -> dict[str, Tensor]:
        """Paths `start` to `start + count`, path i of picture i's caption (modulo their number)."""
        model, tokenizer, of = self.teacher.model, self.teacher.tokenizer, self.teacher.model.config
        generator = torch.Generator(device).manual_seed(batch_seed(self.seed, start))
        rows = range(start, start + count)
        said = self.world.said([row % self.world.n for row in rows], rows)
        tokens = tokenizer.batch(said, self.longest, self.longest).to(device)
        noise = torch.randn(count, of.channels, of.size, of.size, generator=generator, device=device)
        low, high = self.guidance
        guidance = low + (high - low) * torch.rand(count, generator=generator, device=device)
        empty = tokenizer.batch([""], 1).to(device).expand(count, -1)
        model.to(device)
        teacher = flow_map.Teacher(model, tokens[:, : width(tokens)], empty)
        points = flow_map.path(teacher.guided(guidance), noise, self.steps, self.steps, SOLVERS[self.solver][0])
        return {
            "points": points.movedim(0, 1).half().contiguous(),
            "tokens": tokens.short(),
            "guidance": guidance,
        }
