"""A language model of a world's captions, in every language that they have; no picture is looked at."""

from __future__ import annotations

import argparse
import dataclasses
import time

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_utils import profile
from course_utils.common import CourseError
from course_utils.language.tokenizer import PAD, Tokenizer
from course_utils.models.gpt import GPT, GPTConfig, gpt_loss
from course_utils.recipes import Recipe, sources
from course_utils.recipes.fingerprints import fingerprint
from course_utils.recipes.store import width
from course_utils.training import TrainConfig, distributed
from course_utils.training.ahead import Waiting
from course_utils.worlds import captioned

CHUNK = 1_000  # captions that are made at a time
NEAR = 100  # a batch is drawn from so many batches of captions that are nearly equally long


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train gpt`."""
    parser.add_argument(
        "--captions",
        type=int,
        metavar="N",
        help="make so many captions once and repeat them (default: 120,000; 1,000,000 on a GPU)",
    )


class Captions:
    """A `batches(position, n, generator)` for `train`: {"tokens": (n, T)}, one caption counting as one image.

    Keeps `keep` captions of a world, caption i of picture i (modulo their number), made when the first batch is asked for; `waited` counts those
    seconds. They are kept by length, and a batch is drawn by chance from neighbours: else half of its places would be padding.
    """

    def __init__(self, world: captioned.Captioned, keep: int, tokenizer: Tokenizer, longest: int):
        self.world, self.keep, self.tokenizer, self.longest = world, keep, tokenizer, longest
        self.waited, self.tokens = 0.0, torch.empty(0)

    def __call__(self, position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        device = generator.device
        if not len(self.tokens):
            began = time.monotonic()
            self.tokens = self.make().to(device)
            self.waited += time.monotonic() - began
        near = min(NEAR * n, self.keep)
        start = int(torch.randint(self.keep - near + 1, (1,), generator=generator, device=device))
        rows = start + torch.randint(near, (n,), generator=generator, device=device)
        tokens = self.tokens[rows].long()
        # compiled code wants one shape
        return {"tokens": tokens if device.type == "cuda" else tokens[:, : width(tokens)]}

    def make(self) -> Tensor:
        """All captions as tokens (keep, longest), the shortest first."""
        chunks = []
        bar = tqdm(range(0, self.keep, CHUNK), desc="making captions", leave=False, disable=distributed.rank() > 0)
        for start in bar:
            numbers = range(start, min(start + CHUNK, self.keep))
            said = self.world.said([i % self.world.n for i in numbers], numbers)
            chunks.append(self.tokenizer.batch(said, self.longest, self.longest).short())
        tokens = torch.cat(chunks)
        return tokens[(tokens != PAD).sum(1).sort(stable=True).indices]


def recipe(args: argparse.Namespace) -> Recipe:
    """The language model of a world's captions."""
    world = captioned.world(args.world, args.split, path=args.path)
    if world.report:
        print(world.report)
    keep = profile.pick(ci=500, laptop=120_000, gpu=1_000_000) if args.captions is None else args.captions
    if keep < 1:
        raise CourseError(f"--captions is {keep}; it must be a number of captions, 1 at least.")
    tokenizer = sources.tokenizer(world, captions=min(keep, 20_000))
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocabulary=len(tokenizer)))
    captions = Captions(world, keep, tokenizer, model.config.longest - 1)  # BEGIN takes a place
    schedule = TrainConfig(
        images=profile.pick(ci=1_000, laptop=128_000, gpu=4_000_000),
        batch_size=profile.pick(ci=32, laptop=64, gpu=512),
        learning_rate=profile.pick(ci=1e-3, laptop=6e-3, gpu=6e-3),
        warmup_images=profile.pick(ci=100, laptop=6_400, gpu=50_000),
        decay_fraction=1.0,
        ema_half_life_images=profile.pick(ci=1_000, laptop=4_000, gpu=40_000),
        log_every_images=profile.pick(ci=100, laptop=3_200, gpu=51_200),
    )
    card = {
        "kind": "gpt",
        "world": args.world,
        "config": dataclasses.asdict(model.config),
        "tokenizer": tokenizer.merges,
        "words": world.words(),
    }
    of = (
        "" if world.endless else f" ({fingerprint(caption for both in world.different().values() for caption in both)})"
    )
    return Recipe(
        "gpt-captions" if args.world == "shapes" else f"gpt-captions-{args.world}",
        "gpt",
        model,
        gpt_loss,
        captions,
        schedule,
        card,
        data=f"{keep:,} captions of {world.name}, {world.split}{of}",
        callbacks=[Waiting(captions)],
    )
