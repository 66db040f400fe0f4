"""Pictures and captions that are made once and kept where the model is, so that no step waits for them."""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils import profile
from course_utils.common import CourseError
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.recipes.sources import add_size, pictures
from course_utils.training import distributed
from course_utils.training.ahead import Ahead, workers
from course_utils.worlds.captioned import Captioned

CHUNK = 512  # pictures that are made at a time


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The options --pictures and --size."""
    add_size(parser)
    parser.add_argument(
        "--pictures",
        type=int,
        metavar="N",
        help="make so many pictures and captions once and repeat them (default: 120,000; 500,000 on a GPU; a world's all, if fewer)",
    )


def kept(args: argparse.Namespace) -> int:
    """How many pictures are kept. Raises CourseError for none."""
    found = profile.pick(ci=500, laptop=120_000, gpu=500_000) if args.pictures is None else args.pictures
    if found < 1:
        raise CourseError(f"--pictures is {found}; it must be a number of pictures, 1 at least.")
    return found


class Store:
    """A `batches(position, n, generator)` for `train`: {"data": (n, C, S, S), and "tokens": (n, T), if there is a tokenizer}.

    Pictures have `size` x `size` pixels. Keeps the first `keep` pictures of a world (all of them, if it has fewer) in 8 bits, or the latents that `encoder` makes of
    them, and `keep` captions at least, of which each picture has equally many. All cores make them when the first batch is asked for, or the device, in a world that draws there;
    `waited` counts those seconds. A batch is drawn from them by chance. `data` are in [-1, 1], or latents. On a CPU rows of tokens are as
    long as the longest of the batch; on a GPU always equally long, as compiled code wants it.
    """

    def __init__(
        self,
        world: Captioned,
        keep: int,
        *,
        size: int,
        encoder: nn.Module | None = None,
        tokenizer: Tokenizer | None = None,
        longest: int = 0,
    ):
        self.world, self.size, self.encoder = world, size, encoder
        self.tokenizer, self.longest = tokenizer, longest
        self.n = min(world.n, keep)
        self.rows = self.n * math.ceil(keep / self.n) if tokenizer else self.n
        self.waited = 0.0
        self.data = self.tokens = torch.empty(0)

    def __call__(self, position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        device = generator.device
        if not len(self.data):
            began = time.monotonic()
            self.make(device)
            self.waited += time.monotonic() - began
        rows = torch.randint(self.rows, (n,), generator=generator, device=device)
        data = self.data[rows % self.n]
        batch = {"data": data if self.encoder else unpacked(data)}
        if self.tokenizer:
            tokens = self.tokens[rows].long()
            if device.type == "cpu":
                tokens = tokens[:, : width(tokens)]
            batch["tokens"] = tokens
        return batch

    def prepare(self, position: int, n: int) -> tuple[Tensor | None, Tensor | None]:
        """What worker processes make: pictures, while there are any (and if they make them), and captions as tokens."""
        rows = range(position, min(position + n, self.rows))
        images = None
        if position < self.n and not self.world.draws_on_device:
            images = pictures(self.world, torch.tensor(rows[: self.n - position]), self.size)
        if self.tokenizer is None:
            return images, None
        said = self.world.said([row % self.n for row in rows], rows)
        return images, self.tokenizer.batch(said, self.longest, self.longest).short()

    @torch.no_grad()
    def make(self, device: torch.device) -> None:
        """Fills the store."""
        if self.encoder:
            self.encoder.to(device).eval()
        ahead = Ahead(self.prepare, lambda prepared, _: prepared, workers(device))
        data, tokens = [], []
        for start in tqdm(
            range(0, self.rows, CHUNK),
            desc="making pictures",
            unit="batch",
            leave=False,
            disable=distributed.rank() > 0,
        ):
            images, rows = ahead(start, CHUNK, torch.Generator(device))
            if self.world.draws_on_device and start < self.n:
                images = pictures(self.world, torch.arange(start, min(start + CHUNK, self.n), device=device), self.size)
            if images is not None:
                images = images.to(device)
                data.append(self.encoder.encode(unpacked(images)) if self.encoder else images)  # type: ignore[operator]
            if rows is not None:
                tokens.append(rows)
        self.data = torch.cat(data)
        if tokens:
            found = torch.cat(tokens)
            self.tokens = found[:, : -(-width(found) // 8) * 8].to(
                device
            )  # whole eights: other captions, the same graph


def unpacked(images: Tensor) -> Tensor:
    """uint8 as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def width(tokens: Tensor) -> int:
    """Tokens of the longest row of (N, T), padded with PAD."""
    return int((tokens != PAD).sum(1).max())
