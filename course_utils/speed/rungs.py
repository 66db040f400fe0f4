"""The rungs of the speed ladder: small functions that each change one thing of a generator, and the ladders that they make up.

A change gets a generator of its own (a copy) and gives it back changed. Those in FUSED hide operators from who counts them, and so
are made after the counting.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_utils.common import CourseError
from course_utils.generators import load
from course_utils.generators.flow import FlowGenerator, Velocity
from course_utils.generators.flow_map import FlowMapGenerator
from course_utils.graphs import capture
from course_utils.speed.reuse import reuse
from course_utils.weights import read_card

Change = Callable[[FlowGenerator], FlowGenerator]
INTERVAL = (0.25, 0.75)  # the times between which `guidance_interval` guides


@dataclass(frozen=True)
class Rung:
    """One rung: names of CHANGES, and what is asked of it.

    start: whether factors are counted from it. steps: of the sampler. equals: the rung whose pictures it must draw, to within
    `tolerance` (the largest difference of a pixel in [0, 1]), as it only computes them in another way. control: the rung that skips, caches
    or compresses, whose control this is: as many plain steps as cost the same.
    """

    name: str
    changes: tuple[str, ...] = ()
    steps: int = 0
    start: bool = False
    equals: str = ""
    tolerance: float = 1 / 255
    control: str = ""


NAIVE_STEPS = 50  # of Euler's, that nobody has thought about


def flow_ladder(fair: int, device: str = "cpu", naive: int = NAIVE_STEPS, students: Sequence[str] = ()) -> list[Rung]:
    """The rungs for a flow generator.

    fair: the fewest steps that are as good as `naive` of them (`quality.fewest_steps`). students: names of weights that were distilled from
    the generator's; each draws in the steps of its card.
    """
    slow = ("plain attention", "two passes")
    rungs = [
        Rung("naive start", slow, naive, start=True),
        Rung("fewer steps", slow, fair),
        Rung("+ fused attention", ("two passes",), fair, equals="fewer steps"),
        Rung("fair start", (), fair, start=True, equals="fewer steps"),
    ]
    alone = ["channels last", "compile", "compile blocks", "bf16 autocast", "bf16 weights"]
    alone += ["cuda graph", "compile, cuda graphs"] if device == "cuda" else ["all threads"]
    for name in alone:
        rungs.append(Rung(name, (name,), fair, equals="fair start", tolerance=0.5 if "bf16" in name else 1 / 255))
    rungs += [
        Rung("guidance interval", ("guidance interval",), fair),
        Rung("control: fewer steps", (), fair, control="guidance interval"),
        Rung("reuse between steps", ("reuse between steps",), fair),
        Rung("control of reuse: fewer steps", (), fair, control="reuse between steps"),
        Rung("Adams-Bashforth", ("adams",), fair),
        Rung("DPM-Solver++(2M)", ("dpm++",), fair),
    ]
    together = (
        ("bf16 weights", "compile, cuda graphs") if device == "cuda" else ("channels last", "compile", "all threads")
    )
    tolerance = 0.5 if device == "cuda" else 1 / 255
    rungs.append(Rung("together", together, fair, equals="fair start", tolerance=tolerance))
    # a drawing as short as a student's gains nothing from threads
    faster = together if device == "cuda" else ("channels last", "compile")
    for name in students:
        steps = read_card(name)["sampler"]["steps"]
        student, swap = f"student {Path(name).name}", f"{STUDENT}{name}"
        rungs += [
            Rung(student, (swap,), steps),
            Rung(f"control of {student}: fewer steps", (), fair, control=student),
            Rung(f"{student}, compiled", (swap, *faster), steps, equals=student, tolerance=tolerance),
        ]
    return rungs


LADDERS = {"flow": flow_ladder, "layout-flow": flow_ladder}  # by the kind of the weights


def inside(generator: FlowGenerator, context: Callable[[], contextlib.AbstractContextManager]) -> FlowGenerator:
    """Draws inside this context."""
    draw = generator.draw

    def drawn(*args: Any) -> Any:
        with context():
            return draw(*args)

    generator.draw = drawn  # type: ignore[method-assign, assignment]
    return generator


def plain_attention(generator: FlowGenerator) -> FlowGenerator:
    """Attention as it is written in the formula: scores, softmax, product, each a kernel with its result in memory."""
    return inside(generator, lambda: sdpa_kernel(SDPBackend.MATH))


def two_passes(generator: FlowGenerator) -> FlowGenerator:
    """Guidance by two passes of the model, one after the other, where `guided` joins them to one of a doubled batch."""

    def guided(model: Any, tokens: Tensor, empty: Tensor, guidance: float) -> Velocity:
        if guidance in (0.0, 1.0):
            text = model.text(tokens if guidance else empty)
            return lambda x, t: model(x, t, text=text)
        with_words, without = model.text(tokens), model.text(empty)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            v_null = model(x, t, text=without)
            return v_null + guidance * (model(x, t, text=with_words) - v_null)

        return velocity

    generator.guided = guided
    return generator


def channels_last(generator: FlowGenerator) -> FlowGenerator:
    """Convolutions whose numbers lie pixel by pixel, all channels of a pixel together, as vector units like them."""
    for part in (generator.model, generator.autoencoder):
        if part is not None:
            part.to(memory_format=torch.channels_last)
    return generator


def all_threads(generator: FlowGenerator) -> FlowGenerator:
    """Draws with a thread for each core that this process may use."""
    return inside(generator, lambda: threads(core_count()))


def core_count() -> int:
    """Cores that this process may run on."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Computes with n threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bf16_autocast(generator: FlowGenerator) -> FlowGenerator:
    """Products and convolutions in bf16, chosen operator by operator; the weights stay fp32."""
    return inside(generator, lambda: torch.autocast(generator.device.type, torch.bfloat16))


def bf16_weights(generator: FlowGenerator) -> FlowGenerator:
    """Everything in bf16 but the sampler's x and its sum over the steps."""
    guided = generator.guided
    generator.model.bfloat16()

    def halved(model: Any, tokens: Tensor, empty: Tensor, guidance: float) -> Velocity:
        velocity = guided(model, tokens, empty, guidance)
        return lambda x, t: velocity(x.bfloat16(), t).float()

    generator.guided = halved
    if generator.autoencoder is not None:
        decoder = generator.autoencoder.bfloat16()
        decode = decoder.decode
        decoder.decode = lambda latents: decode(latents.bfloat16()).float()
    return generator


def compiled(generator: FlowGenerator, **options: Any) -> FlowGenerator:
    """`torch.compile` of the model and the decoder: operators between products are fused. The text encoder runs once, and stays."""
    torch._dynamo.reset()
    generator.model.compile(**options)
    if generator.autoencoder is not None:
        generator.autoencoder.decoder.compile(**options)
    return generator


def compiled_blocks(generator: FlowGenerator, **options: Any) -> FlowGenerator:
    """`torch.compile` block by block (regional compilation): blocks of one kind share what was compiled once, and Python runs between them."""
    torch._dynamo.reset()
    for stack in generator.model.children():
        for block in stack if isinstance(stack, nn.ModuleList) else ():
            block.compile(**options)
    return generator


def compiled_graphs(generator: FlowGenerator) -> FlowGenerator:
    """`torch.compile`, and its kernels replayed as one CUDA graph."""
    need_cuda(generator)
    return compiled(generator, mode="reduce-overhead")


def cuda_graph(generator: FlowGenerator) -> FlowGenerator:
    """The model's kernels recorded once for each shape, and replayed as one CUDA graph, without Python between them."""
    need_cuda(generator)
    generator.model = Replayed(generator.model)
    return generator


def need_cuda(generator: FlowGenerator) -> None:
    """Raises CourseError for what only a GPU has."""
    if generator.device.type != "cuda":
        raise CourseError("CUDA graphs need a CUDA device, and this generator is on the CPU.")


class Replayed(nn.Module):
    """A model whose pass is recorded once for each shape of its inputs and replayed after that.

    A graph reads and writes always the same memory, so inputs are copied there first and the output is copied out. record: runs a function
    and gives back what repeats it on the same memory.
    """

    def __init__(
        self, model: Any, record: Callable[[Callable[[], Tensor]], tuple[Callable[[], Any], Tensor]] | None = None
    ):
        super().__init__()
        self.model, self.config, self.text = model, model.config, model.text
        self.record = record or capture
        self.graphs: dict[Any, tuple[list[Tensor], Callable[[], Any], Tensor]] = {}

    def forward(self, x: Tensor, t: Tensor, text: Sequence[Tensor]) -> Tensor:
        inputs = [x, t, *text]
        key = tuple((one.shape, one.dtype) for one in inputs)
        if key not in self.graphs:
            fixed = [one.clone() for one in inputs]
            words = type(text)(*fixed[2:]) if hasattr(text, "_fields") else tuple(fixed[2:])
            self.graphs[key] = fixed, *self.record(lambda: self.model(fixed[0], fixed[1], text=words))
        fixed, replay, out = self.graphs[key]
        for there, one in zip(fixed, inputs, strict=True):
            there.copy_(one)
        replay()
        return out.clone()


def guidance_interval(generator: FlowGenerator) -> FlowGenerator:
    """Guides only at times in INTERVAL, and takes one pass elsewhere (Kynkäänniemi et al. 2024)."""
    return generator.using(interval=INTERVAL)


def solver(name: str) -> Change:
    """Another solver with one evaluation a step: the same cost."""
    return lambda generator: generator.using(solver=name)


def student_of(generator: FlowGenerator, name: str) -> FlowGenerator:
    """The student of these weights in the generator's place. Raises CourseError for one of another teacher."""
    found = load(name, str(generator.device))
    if not isinstance(found, FlowMapGenerator) or found.card["config"]["sha256"] != generator.card["sha256"]:
        raise CourseError(f"{name!r} is no student of this generator; distil one with `train distil`.")
    return found


def change(name: str) -> Change:
    """The change of this name: one of CHANGES, or STUDENT and the name of a student's weights."""
    return partial(student_of, name=name[len(STUDENT) :]) if name.startswith(STUDENT) else CHANGES[name]


STUDENT = "student: "
CHANGES: dict[str, Change] = {
    "plain attention": plain_attention,
    "two passes": two_passes,
    "channels last": channels_last,
    "all threads": all_threads,
    "bf16 autocast": bf16_autocast,
    "bf16 weights": bf16_weights,
    "compile": compiled,
    "compile blocks": compiled_blocks,
    "cuda graph": cuda_graph,
    "compile, cuda graphs": compiled_graphs,
    "guidance interval": guidance_interval,
    "reuse between steps": reuse,
    "adams": solver("adams"),
    "dpm++": solver("dpm++"),
}
FUSED = ("compile", "compile blocks", "cuda graph", "compile, cuda graphs")
