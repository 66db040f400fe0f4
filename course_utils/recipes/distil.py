"""A student of a generator that draws in a few steps, by one of the methods of `speed/flow_map.py`; its file holds what it adds to its teacher."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_utils import profile
from course_utils.common import CourseError
from course_utils.generators.base import load
from course_utils.generators.flow import FlowGenerator
from course_utils.generators.solvers import SOLVERS
from course_utils.models.flow_map import FlowMap, FlowMapConfig
from course_utils.recipes import Recipe, sources
from course_utils.recipes.fingerprints import fingerprint
from course_utils.recipes.paths import Paths
from course_utils.recipes.store import Store, add_pictures, kept
from course_utils.speed import flow_map
from course_utils.training import TrainConfig
from course_utils.training.ahead import Waiting
from course_utils.weights import load_weights

METHODS = ("guidance", "no-guidance", "reflow", "shortcut", "meanflow", "consistency", "dmd")
MATCHED = 0.25  # share of a batch of `shortcut` and `meanflow` that learns the velocity itself, at s = t
JUMPS = [1, 2, 4, 8]  # steps in which students of `shortcut` and `meanflow` may draw


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train distil`."""
    parser.add_argument("--teacher", default="flow-shapes", metavar="NAME", help="whose student (default: %(default)s)")
    parser.add_argument("--method", choices=METHODS, default="reflow", help="what teaches it (default: %(default)s)")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="what it will draw in: `reflow` and `consistency` may learn several and learn no other (default: 4; `consistency` also 8, 2 and 1)",
    )
    parser.add_argument(
        "--paths",
        type=int,
        metavar="N",
        help="of the teacher, made once and kept, for `reflow` (default: 10,000; 100,000 on a GPU)",
    )
    parser.add_argument(
        "--teacher-steps",
        type=int,
        default=16,
        metavar="N",
        help="of the paths of `reflow` and `consistency` (default: %(default)s)",
    )
    parser.add_argument(
        "--teacher-solver",
        choices=[name for name, (_, asks) in SOLVERS.items() if asks == 1],
        default="euler",
        help="of the same paths (default: %(default)s)",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=8,
        metavar="N",
        help="of each path that is in a batch: the places where the student will stand, --steps of them, and others between; for several "
        "numbers of steps so many of the places, by chance (default: %(default)s)",
    )
    parser.add_argument(
        "--guidance",
        type=float,
        nargs="+",
        metavar="G",
        help="what it is taught: one, or a lowest and a highest (default: the teacher's own)",
    )
    parser.add_argument(
        "--parts",
        choices=("both", "matching", "guidance"),
        default="both",
        help="of the direction of `dmd` (default: both)",
    )
    parser.add_argument(
        "--rank", type=int, default=8, metavar="N", help="of what is added to each matrix (default: %(default)s)"
    )
    parser.add_argument("--student", metavar="NAME", help="go on from this student of the same teacher and rank")
    add_pictures(parser)


@dataclass(frozen=True)
class Distillation(Recipe):
    """A recipe of which only what the student adds is written."""

    def parts(self, trained: nn.Module) -> dict[str, Mapping[str, Tensor]]:
        """What goes into the weights file."""
        student = trained.student if isinstance(trained, Match) else trained
        return {self.kind: student.trained()}  # type: ignore[operator]


class Match(nn.Module):
    """A student, and beside it a network that learns the velocity of the student's pictures; both begin as the teacher."""

    def __init__(self, student: FlowMap, fake: FlowMap):
        super().__init__()
        self.student, self.fake = student, fake


def recipe(args: argparse.Namespace) -> Recipe:
    """The student of a generator."""
    teacher = load(args.teacher, "cpu")
    if type(teacher) is not FlowGenerator:
        raise CourseError(f"{args.teacher!r} cannot be a teacher; give a generator of the family flow.")
    steps = args.steps or ([4, 8, 2, 1] if args.method == "consistency" else [4])
    check(args, steps)
    guidance = args.guidance or [teacher.guidance]
    low, high = guidance[0], guidance[-1]
    args.world = str(teacher.card.get("world", args.world))
    world = sources.open_training(args)
    net, longest = teacher.autoencoder, teacher.model.config.text.longest
    store = Store(world, kept(args), size=sources.size(args), encoder=net, tokenizer=teacher.tokenizer, longest=longest)
    paths = Paths(
        world,
        Path(args.teacher).name,
        teacher,
        profile.pick(ci=64, laptop=10_000, gpu=100_000) if args.paths is None else args.paths,
        steps=args.teacher_steps,
        solver=args.teacher_solver,
        guidance=(low, high),
        longest=longest,
    )
    torch.manual_seed(0)
    config = FlowMapConfig(args.teacher, teacher.card["sha256"], args.rank)
    student = FlowMap(config, teacher.model)
    if args.student:
        continue_from(args.student, student)
    model = Match(student, FlowMap(config, teacher.model)) if args.method == "dmd" else student
    frozen = teacher.model.requires_grad_(False)
    empty = teacher.tokenizer.batch([""], 1)

    def taught_by(tokens: Tensor) -> flow_map.Teacher:
        frozen.to(tokens.device)
        return flow_map.Teacher(frozen, tokens, empty.to(tokens.device).expand(len(tokens), -1))

    def batches(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        batch = store(position, n, generator)
        return {**batch, "guidance": spread(n, generator)}

    def spread(n: int, generator: torch.Generator) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)

    def chords(position: int, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """For `reflow`, which needs no pictures: --examples of each path of the teacher."""
        points, tokens, g = paths(-(-n // args.examples), generator)
        if len(steps) == 1:
            found = flow_map.reflow(points[:: args.teacher_steps // steps[0]], args.examples, generator)
        else:
            found = flow_map.jumps(points, args.examples, steps, generator)
        found |= {"guidance": g.repeat(args.examples), "tokens": tokens.repeat(args.examples, 1)}
        mixed = torch.randperm(len(found["s"]), generator=generator, device=generator.device)[:n]
        return {name: value[mixed] for name, value in found.items()}

    chorded = args.method == "reflow"
    loss = {"reflow": reflow_loss, "dmd": match_loss(args.parts, taught_by)}.get(args.method)
    one = args.method == "reflow" and len(steps) == 1
    name = f"{args.teacher}-{steps[0] if one else args.method}"
    chosen = {"guidance": None, "no-guidance": None, "reflow": steps, "consistency": steps, "dmd": [1]}
    taught = chosen.get(args.method, JUMPS)
    card: dict[str, Any] = {
        "kind": "flow-map",
        "config": dataclasses.asdict(config),
        "method": args.method,
        "taught": taught,
        "sampler": {"steps": steps[0] if taught else teacher.steps, "guidance": (low + high) / 2},
    }
    schedule = TrainConfig(
        images=profile.pick(ci=1_000, laptop=200_000, gpu=4_000_000),
        batch_size=profile.pick(ci=32, laptop=64, gpu=256),
        learning_rate=1e-3,
        warmup_images=profile.pick(ci=100, laptop=6_400, gpu=50_000),
        decay_fraction=0.5,
        ema_half_life_images=profile.pick(ci=1_000, laptop=10_000, gpu=100_000),
        log_every_images=profile.pick(ci=100, laptop=3_200, gpu=25_600),
    )
    options = [
        args.method,
        *map(
            str,
            (taught, args.teacher_steps, args.teacher_solver, args.examples, guidance, args.parts, args.student),
        ),
    ]
    return Distillation(
        name,
        "flow-map",
        model,
        loss or point_loss(args.method, taught_by, args.teacher_steps, taught or []),
        chords if chorded else batches,
        schedule,
        card,
        data=f"{sources.about(world, sources.size(args))}, {f'{paths.n:,} paths' if chorded else f'{store.n:,} of them'}; {fingerprint(options)}",
        built_on=[args.student or args.teacher],
        callbacks=[Waiting(paths if chorded else store)],
    )


def continue_from(name: str, student: FlowMap) -> None:
    """Gives the student what another one has learned. Raises CourseError if that does not fit."""
    weights = load_weights(name, "flow-map")
    if weights.card["config"] != dataclasses.asdict(student.config):
        raise CourseError(f"{name!r} is the student of another teacher, or has another rank; give both as in its card.")
    student.load_trained(weights.part("flow-map"))


def check(args: argparse.Namespace, steps: list[int]) -> None:
    """Raises CourseError for options that mean nothing, or not together."""
    guidance = args.guidance or [1.0]
    if len(guidance) > 2 or not 0 < guidance[0] <= guidance[-1]:
        raise CourseError("--guidance takes one number, or a lowest and a highest, above 0.")
    if min(args.rank, *steps, 1 if args.paths is None else args.paths) < 1:
        raise CourseError("--rank, --steps and --paths must be 1 at least.")
    if args.method in ("reflow", "consistency") and (off := [n for n in steps if args.teacher_steps % n]):
        raise CourseError(f"--steps is {off[0]}; it must divide --teacher-steps ({args.teacher_steps}).")
    if args.method == "reflow" and len(steps) == 1 and steps[0] > args.examples:
        raise CourseError(f"--steps is {steps[0]}; it must be --examples ({args.examples}) at most.")
    if args.method == "dmd" and steps != [1]:
        raise CourseError("`dmd` teaches one step; add --steps 1.")
    if args.method in ("shortcut", "meanflow") and (len(steps) > 1 or steps[0] not in JUMPS):
        raise CourseError(
            f"--steps is {listed(steps)}; `{args.method}` teaches {listed(JUMPS)}, and one of them is what its card asks for."
        )


def listed(numbers: list[int]) -> str:
    """Numbers for a message."""
    return ", ".join(map(str, numbers))


def reflow_loss(student: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Chords of the teacher's paths, which `batches` has made."""
    answer = student(batch["x"], batch["s"], batch["t"], batch["guidance"], batch["tokens"])
    return flow_map.regression(answer, batch["target"])


def point_loss(
    method: str, taught_by: Callable[[Tensor], flow_map.Teacher], grid: int, counts: list[int]
) -> Callable[..., Any]:
    """The loss of the methods that learn at points between noise and data.

    For `consistency`, grid: steps of the teacher from one to the other; counts: numbers of jumps that the student may draw in.
    """

    def loss(student: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        data, guidance = batch["data"], batch["guidance"]
        noise, teacher = torch.randn_like(data), taught_by(batch["tokens"])
        s = torch.rand(len(data), device=data.device)
        length = torch.zeros_like(s)
        if method == "shortcut":
            length = 0.5 ** torch.randint(len(JUMPS), s.shape, device=s.device)
            s = (s / length).floor() * length  # at the beginnings of the jumps that will be made
        elif method == "meanflow":
            length = (1 - s) * torch.rand_like(s)
        length = length * (torch.rand_like(s) >= MATCHED)
        t = s + length
        if method == "consistency":  # from the teacher's grid to the end of the jump that is on its way
            count = torch.tensor(counts, device=s.device)[torch.randint(len(counts), s.shape, device=s.device)]
            s, t = (s * grid).floor() / grid, ((s * count).floor() + 1) / count
        x = flow_map.column(1 - s, data) * noise + flow_map.column(s, data) * data
        u = lambda x, s, t: student(x, s, t, guidance, text=teacher.text)  # noqa: E731
        v = teacher.guided(guidance)
        if method == "no-guidance":
            with torch.no_grad():
                u_null = student(x, s, s, torch.ones_like(s), text=teacher.null)
            target = flow_map.guided_line(u_null, data - noise, guidance)
        elif method == "meanflow":
            target = flow_map.mean_flow(u, v, x, s, t)
        elif method == "consistency":
            target = flow_map.consistency(u, v, x, s, t, 1 / grid)
        else:
            target = v(x, s)
            if method == "shortcut":
                target = torch.where(
                    flow_map.column(length, x) > 0, flow_map.shortcut(u, x, s, t, 1 / JUMPS[-1]), target
                )
        return flow_map.regression(u(x, s, t), target, adaptive=method == "meanflow")

    return loss


def match_loss(parts: str, taught_by: Callable[[Tensor], flow_map.Teacher]) -> Callable[..., Any]:
    """The student's direction, and the flow-matching loss of the network beside it on the student's pictures."""

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        student, fake, guidance = model.student, model.fake, batch["guidance"]
        teacher, noise = taught_by(batch["tokens"]), torch.randn_like(batch["data"])
        zero, one = torch.zeros_like(guidance), torch.ones_like(guidance)
        drawn = noise + student(noise, zero, one, guidance, text=teacher.text)  # type: ignore[operator]
        t = 0.02 + 0.96 * torch.rand_like(guidance)
        at, other = flow_map.column(t, noise), torch.randn_like(noise)
        x = ((1 - at) * other + at * drawn).detach()
        v_fake = fake(x, t, t, one, text=teacher.text)  # type: ignore[operator]
        v_text, v_null = teacher.parts(x, t)
        value, details = flow_map.distribution_matching(drawn, v_text, v_null, v_fake.detach(), x, t, guidance, parts)
        fitted = (v_fake - (drawn.detach() - other)).square().mean()
        return value + fitted, {**details, "fake_error": fitted.detach()}

    return loss
