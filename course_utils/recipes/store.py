"""Pictures and captions that are made once and kept where the model is, so that no step waits for them."""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_utils import profile
from course_utils.common import CourseError
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.recipes.sources import Source, workers
from course_utils.training.ahead import Ahead

CHUNK = 512  # pictures that are made at a time


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The option --pictures."""
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

    Keeps the first `pictures` pictures of a source (all of them, if it has fewer) in 8 bits, or the latents that `encoder` makes of
    them, and `pictures` captions at least, of which each picture has equally many. All cores make them when the first batch is asked for;
    `waited` counts those seconds. A batch is drawn from them by chance. `data` are in [-1, 1], or latents. On a CPU rows of tokens are as
    long as the longest of the batch; on a GPU always equally long, as compiled code wants it.
    """

    def __init__(
        self,
        source: Source,
        pictures: int,
        *,
        encoder: nn.Module | None = None,
        tokenizer: Tokenizer | None = None,
        longest: int = 0,
    ):
        self.source, self.encoder, self.tokenizer, self.longest = source, encoder, tokenizer, longest
        self.n = min(source.n, pictures)
        self.rows = self.n * math.ceil(pictures / self.n) if tokenizer else self.n
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
        batch = {"data": data if self.encoder else data.float() / 127.5 - 1}
        if self.tokenizer:
            tokens = self.tokens[rows].long()
            if device.type == "cpu":
                tokens = tokens[:, : width(tokens)]
            batch["tokens"] = tokens
        return batch

    def prepare(self, position: int, n: int) -> tuple[Any, Tensor | None]:
        """What worker processes make: what the pictures from `position` on are made of, and captions as tokens."""
        made = self.source.prepare(position, n)
        if self.tokenizer is None:
            return made, None
        rows = self.tokenizer.batch(self.source.captions(made, position), self.longest, self.longest)
        return made, rows.short()

    @torch.no_grad()
    def make(self, device: torch.device) -> None:
        """Fills the store."""
        if self.encoder:
            self.encoder.to(device).eval()
        ahead = Ahead(self.prepare, lambda prepared, _: prepared, workers(str(device)))
        chunk, data, tokens = min(CHUNK, self.rows), [], []
        for start in tqdm(range(0, self.rows, chunk), desc="making pictures", unit="batch", leave=False):
            made, rows = ahead(start, chunk, torch.Generator(device))
            if rows is not None:
                tokens.append(rows)
            if start < self.n:
                images = self.source.images(made, device)
                data.append(self.encoder.encode(images) if self.encoder else to_bytes(images))  # type: ignore[operator]
        self.data = torch.cat(data)[: self.n]
        if tokens:
            found = torch.cat(tokens)[: self.rows]
            self.tokens = found[:, : width(found)].to(device)


def to_bytes(images: Tensor) -> Tensor:
    """Pictures in [-1, 1] as uint8."""
    return ((images + 1) * 127.5).round().byte()


def width(tokens: Tensor) -> int:
    """Tokens of the longest row of (N, T), padded with PAD."""
    return int((tokens != PAD).sum(1).max())
