"""The training loop of the course: the same for every model, on one CPU core, one GPU, or several (`training/distributed.py`).

**Exact resume.** Three rules make a run that was killed and resumed equal to one that was not, bit for bit on one CPU thread:
1. Data has no state. `batches(position, n, generator)` is a pure function: images `position` to `position + n` of an endless
   row, with a generator that is seeded from (seed, position) before each call for whatever else it draws.
2. Dropout and the noise in losses come from torch's global generators, seeded here and stored in checkpoints. Where a batch is
   computed in parts they are seeded anew for each, from (seed, position): a part is the same whichever process computes it.
3. Callbacks cannot disturb: the generators are put back after them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.common import CourseError, typed_path
from course_utils.counters import batch_seed, noise_seed
from course_utils.training import checkpoints, distributed
from course_utils.training.callbacks import Callback
from course_utils.training.config import TrainConfig, choose_device, use_bf16
from course_utils.training.ema import Ema
from course_utils.training.lock import alone_in
from course_utils.training.nested import move
from course_utils.training.schedules import learning_rate
from course_utils.training.state import State, load_into, restore, save, take_stock, write_log
from course_utils.training.step import Loss, Recorded, Step

Batches = Callable[[int, int, torch.Generator], Any]


@dataclass(frozen=True)
class TrainResult:
    """`model` (trained), `ema_model` (its running average: use this one), both in eval mode, and the log, line by line."""

    model: nn.Module
    ema_model: nn.Module
    history: list[dict[str, Any]]


def train(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = True,
    init: Mapping[str, Tensor] | None = None,
    about: Mapping[str, Any] | None = None,
    optimiser_of: Callable[[nn.Module, TrainConfig], torch.optim.Optimizer] | None = None,
) -> TrainResult:
    """Trains `model` in place on `loss(model, batch) -> (scalar, details)` until `config.images` images have been seen.

    `batches(position, n, generator)` gives a batch of n images (see the top of this file): a tensor, or tuples, lists and
    dicts of them. It is moved to the device; what is made there (`generator.device`) need not be moved. `details` are
    further scalars for the log. Both are called for n = batch_size / accumulate images at a time, or as many times fewer as
    there are ranks (`distributed.together`): R ranks do what one process does with `accumulate` R times as large.

    With a `folder`, checkpoints and `log.jsonl` (a line each `log_every_images`) go there, and a run that stopped goes on
    from its newest checkpoint; `resume=False` deletes them and starts again. `init` is a state dict to start from, with a
    fresh optimiser. `about` (JSON values) says what else makes this run what it is, such as the model's own config: a
    checkpoint with another `about` or config is refused. `optimiser_of(model, config)` makes another optimiser than
    `make_optimiser` does; all its groups get the scheduled learning rate.

    Raises CourseError when the numbers stop being finite, a checkpoint does not fit or cannot be written, another process
    trains in the folder, or a signal (Ctrl-C, SIGTERM) asks to stop; the last saves a checkpoint first.
    """
    if config.graph and (distributed.ranks() > 1 or optimiser_of is not None):
        raise CourseError(
            "A recorded step (`graph`) is for one process and the loop's own optimiser; leave out `graph` (--graph)."
        )
    device = choose_device(config.device)
    bf16 = use_bf16(config.precision, device)
    checkpoints.seed_everything(config.seed)
    model.to(device).train()
    if init is not None:
        load_into(model, init, "The state dict given as `init`")
    distributed.share_weights(model)
    ema = Ema(model, config.ema_half_life_images)
    optimiser = (optimiser_of or make_optimiser)(model, config)
    rank, ranks = distributed.rank(), distributed.ranks()
    part_size, n_parts = config.part(ranks), config.accumulate * ranks
    settings = json.loads(json.dumps({**dataclasses.asdict(config), "accumulate": n_parts, **(about or {})}))
    place = typed_path(folder) if folder is not None else None
    state = State(model, ema.model, optimiser, config, place, settings, device)
    if config.compile:  # one graph of kernels a step, where the GPU need not keep gradients from part to part
        graphs = device.type == "cuda" and config.accumulate == 1 and not config.graph
        loss = torch.compile(loss, mode="reduce-overhead" if graphs else "default")
    step = Step(model, loss, optimiser, ema, clip=config.clip, accumulate=config.accumulate, bf16=bf16, device=device)
    make = Recorded(step) if config.graph else step
    generator = torch.Generator(device)

    def parts(images: int) -> Iterator[Any]:
        """This process's parts of the batch that begins at this image."""
        for position in range(images + rank * part_size, images + config.batch_size, ranks * part_size):
            generator.manual_seed(batch_seed(config.seed, position))
            if n_parts > 1:
                torch.manual_seed(noise_seed(config.seed, position))
            yield move(batches(position, part_size, generator), device)

    rows: list[Tensor] = []  # one a step; they stay on the device until a log line or a checkpoint needs them
    clock = time.monotonic

    with alone_in(place if rank == 0 else None), catch_signals() as signals:
        if place is not None:
            restore(state, resume)
        started = clock() - state.seconds
        saved_at = logged_at = clock()
        images_logged = state.images
        while state.images < config.images:
            # the rate at the middle of the batch, so that no step is made with 0
            rate = learning_rate(config, state.images + config.batch_size / 2)
            following = state.images + config.batch_size
            rows.append(make(parts(state.images), rate, ema.share(following, config.batch_size)))
            state.images = following
            state.step += 1

            finished, stopping = state.images >= config.images, distributed.any_rank(bool(signals))
            if finished or crossed(config.log_every_images, state.images, config.batch_size):
                take_stock(state, rows)
                state.seconds = clock() - started
                speed = (state.images - images_logged) / max(clock() - logged_at, 1e-9)
                write_log(state, step.names, speed, callbacks)
                logged_at, images_logged = clock(), state.images  # the rate leaves out what callbacks took
            if config.checkpoint_images is not None:
                due = crossed(config.checkpoint_images, state.images, config.batch_size)
            else:
                due = clock() - saved_at > 60 * config.checkpoint_minutes
            if state.folder is not None and (due or finished or stopping):
                take_stock(state, rows)
                state.seconds = clock() - started
                save(state)
                saved_at = clock()
            if stopping and not finished:
                kept = f"It is saved in {state.folder}; the same command goes on from there."
                lost = "Nothing is saved, for want of a folder."
                raise CourseError(
                    f"Stopped by {(signals or ['another rank'])[0]} after {state.images} images. {kept if state.folder else lost}"
                )
    return TrainResult(model.eval(), ema.model, state.history)


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019). Biases, gains and other parameters of one dimension are not decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def crossed(every: int, images: int, batch_size: int) -> bool:
    """Whether the last batch crossed a multiple of `every`."""
    return images // every > (images - batch_size) // every


@contextlib.contextmanager
def catch_signals() -> Iterator[list[str]]:
    """Yields a list that gets the name of the signal when SIGINT or SIGTERM arrives; a second one acts as ever, at once."""
    caught: list[str] = []
    before: dict[int, Any] = {}

    def remember(number: int, _: Any) -> None:
        caught.append(signal.Signals(number).name)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, remember) or signal.SIG_DFL
    try:
        yield caught
    finally:
        for restored, handler in before.items():
            signal.signal(restored, handler)
