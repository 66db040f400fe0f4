"""The flow map: targets that the exact map fulfils, a student that begins as its teacher, and all methods from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import awake, dit, flow_weights, shipped, tokenizer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_utils.__main__ import main
from course_utils.common import CourseError
from course_utils.generators import load, solvers
from course_utils.generators.flow import guided
from course_utils.generators.flow_map import sample
from course_utils.models.flow_map import FlowMap, FlowMapConfig
from course_utils.models.layout_dit import LayoutDiT, LayoutDiTConfig, LayoutTextConfig
from course_utils.recipes.distil import METHODS
from course_utils.speed import flow_map
from course_utils.worlds.mixture import Mixture

PROMPTS = ["a small red circle", "三个蓝色的方块", "two striped blue stars"]
MEAN, SIGMA = torch.tensor([[1.5, -0.5]], dtype=torch.float64), 0.4
BLOB = Mixture(MEAN, SIGMA)


def width(t: torch.Tensor) -> torch.Tensor:
    """The standard deviation of the crowd at t."""
    return (t**2 * SIGMA**2 + (1 - t) ** 2).sqrt()[:, None]


def exact(x: torch.Tensor, s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The flow map of one Gaussian in closed form: paths keep their place in the crowd, (x_t - t m) / width_t. At s = t the velocity."""
    there = t[:, None] * MEAN + (x - s[:, None] * MEAN) * width(t) / width(s)
    same = (t == s)[:, None]
    return torch.where(same, BLOB.velocity(x, s), (there - x) / (t - s + same[:, 0])[:, None])


@pytest.fixture
def places() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=random, dtype=torch.float64)
    s = 0.9 * torch.rand(50, generator=random, dtype=torch.float64)
    return x, s, s + (1 - s) * torch.rand(50, generator=random, dtype=torch.float64)


# --------------------------------------------------------------------------------------------------------- targets


def test_the_exact_map_is_that_of_the_paths() -> None:
    x = torch.randn(20, 2, dtype=torch.float64)
    end = flow_map.path(BLOB.velocity, x, 4000, 4)
    assert torch.allclose(sample(exact, x, torch.tensor([0.0, 1.0])), end[-1], atol=2e-3)
    assert torch.allclose(sample(exact, x, torch.tensor([0.0, 0.3, 1.0])), sample(exact, x, torch.tensor([0.0, 1.0])))


def test_a_path_is_where_its_solver_goes() -> None:
    """Piece by piece the points of the solver alone, whatever it remembers from step to step."""
    x = torch.randn(20, 2, dtype=torch.float64)
    for solve in (solvers.euler, solvers.adams, solvers.dpm):
        points = flow_map.path(BLOB.velocity, x, 12, 4, solve)
        assert points.shape == (5, 20, 2) and torch.equal(points[0], x)
        assert torch.equal(points[-1], solve(BLOB.velocity, x, 12))
    by_hand = x
    for k in range(3):
        by_hand = by_hand + BLOB.velocity(by_hand, torch.full((20,), k / 12, dtype=torch.float64)) / 12
    assert torch.allclose(flow_map.path(BLOB.velocity, x, 12, 4)[1], by_hand, atol=1e-12)


def test_the_exact_map_is_what_every_target_asks_for(places) -> None:
    x, s, t = places
    answer = exact(x, s, t)
    assert torch.allclose(flow_map.shortcut(exact, x, s, t), answer, atol=1e-9)
    assert torch.allclose(flow_map.mean_flow(exact, BLOB.velocity, x, s, t, 1e-5), answer, atol=1e-6)
    assert torch.allclose(flow_map.mean_flow_jvp(exact, BLOB.velocity, x, s, t), answer, atol=1e-9)
    small = flow_map.consistency(exact, BLOB.velocity, x, s, t, 1e-5)
    assert torch.allclose(small, answer, atol=1e-5)
    backwards = lambda x, t: -BLOB.velocity(x, t)  # noqa: E731
    assert not torch.allclose(flow_map.mean_flow(exact, backwards, x, s, t, 1e-5), answer, atol=0.1)
    points = torch.stack([x + (t_ * exact(x, 0 * s, 0 * s + t_)) for t_ in (0.0, 0.5, 1.0)])
    found = flow_map.reflow(points, 2, torch.Generator().manual_seed(0))
    assert torch.allclose(found["target"], exact(found["x"], found["s"], found["t"]), atol=1e-9)


def test_a_consistent_map_is_the_path_of_the_teachers_steps() -> None:
    """What fulfils its own target, from the last step to the first, ends where Euler's steps end."""
    x, grid = torch.randn(20, 2, dtype=torch.float64), 8
    at = lambda s: torch.full((20,), s, dtype=torch.float64)  # noqa: E731

    def u(x, s, t):
        return BLOB.velocity(x, s) if torch.equal(s, t) else flow_map.consistency(u, BLOB.velocity, x, s, t, 1 / grid)

    points = flow_map.path(BLOB.velocity, x, grid, grid)
    for k, end in ((0, 8), (0, 4), (3, 4), (6, 8)):
        jump = u(points[k], at(k / grid), at(end / grid))
        assert torch.allclose(points[k] + (end - k) / grid * jump, points[end], atol=1e-12)
    still = flow_map.consistency(u, BLOB.velocity, x, at(0.3), at(0.3), 1 / grid)
    assert torch.equal(still, BLOB.velocity(x, at(0.3)))


def test_a_small_step_of_consistency_is_part_of_the_way_to_mean_flow(places) -> None:
    x, s, t = places
    wrong = lambda x, s, t: exact(x, s, t) + torch.sin(x + s[:, None] - 2 * t[:, None])  # noqa: E731
    here, step = wrong(x, s, t), 1e-5
    goal = flow_map.mean_flow(wrong, BLOB.velocity, x, s, t, 1e-5)
    moved = flow_map.consistency(wrong, BLOB.velocity, x, s, t, step) - here
    assert torch.allclose(moved * ((t - s) / step)[:, None], goal - here, atol=2e-3)


def test_halves_that_nobody_teaches_are_taken_with_the_velocity() -> None:
    asked: list[torch.Tensor] = []

    def u(x, s, t):
        asked.append(t - s)
        return x

    s = torch.tensor([0.0, 0.5])
    flow_map.shortcut(u, torch.ones(2, 1), s, s + torch.tensor([0.25, 0.125]), least=0.1)
    assert [lengths.tolist() for lengths in asked] == [[0.125, 0.0], [0.125, 0.0]]


def test_reflow_begins_where_the_student_is_asked() -> None:
    points = torch.arange(3.0)[:, None, None] * torch.tensor([[1.0, 2.0]])[..., None]  # two paths of two pieces
    found = flow_map.reflow(points, 5, torch.Generator().manual_seed(0))
    assert found["s"][:4].tolist() == [0.0, 0.0, 0.5, 0.5] and found["t"][:4].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert torch.allclose(found["target"].flatten(), torch.tensor([2.0, 4.0]).repeat(5))
    assert torch.allclose(found["x"].flatten(), 2 * found["s"] * torch.tensor([1.0, 2.0]).repeat(5))
    assert (found["s"][4:] != 0).all() and (found["s"] < found["t"]).all()


def test_jumps_are_those_of_students_of_several_numbers_of_steps() -> None:
    points = torch.randn(5, 300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))  # of four pieces
    found = flow_map.jumps(points, 4, [1, 4, 2], torch.Generator().manual_seed(0))
    seen = {}
    for i, (x, s, t, target) in enumerate(zip(*(found[k].tolist() for k in ("x", "s", "t", "target")), strict=True)):
        start, end = points[int(4 * s), i % 300], points[int(4 * t), i % 300]
        assert x == start.tolist() and target == pytest.approx(((end - start) / (t - s)).tolist())
        seen[s, t] = seen.get((s, t), 0) + 1
    # a third of each number of steps, and of these all jumps alike
    assert sorted(seen) == [(0, 0.25), (0, 0.5), (0, 1), (0.25, 0.5), (0.5, 0.75), (0.5, 1), (0.75, 1)]
    for (s, t), n in seen.items():
        assert n == pytest.approx(400 * (t - s), rel=0.25)


def test_the_mean_of_lines_with_guidance_is_the_guided_velocity() -> None:
    lines, u_null, g = torch.randn(1000, 2), torch.randn(1, 2), torch.full((1000,), 3.0)
    found = flow_map.guided_line(u_null.expand(1000, 2), lines, g).mean(0)
    assert torch.allclose(found, (u_null + 3 * (lines.mean(0) - u_null))[0], atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ loss


def test_an_adaptive_loss_says_nothing_and_the_raw_error_does() -> None:
    target = torch.randn(32, 3, generator=torch.Generator().manual_seed(0))
    for size in (1.0, 10.0):
        loss, details = flow_map.regression(target + size, target, adaptive=True)
        assert loss == pytest.approx(1, abs=0.002) and details["error"] == pytest.approx(size**2, rel=1e-4)
    plain, details = flow_map.regression(target + 2, target)
    assert plain == details["error"]


def test_a_student_that_goes_the_other_way_is_seen() -> None:
    target = torch.randn(32, 3)
    assert flow_map.regression(-target, target)[1]["cosine"] == pytest.approx(-1)
    assert flow_map.regression(2 * target, target)[1]["cosine"] == pytest.approx(1)


def test_no_gradient_flows_into_a_target() -> None:
    answer, target = torch.ones(2, 2, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
    flow_map.regression(answer, target)[0].backward()
    assert target.grad is None and torch.equal(answer.grad, torch.full((2, 2), 0.5))


@pytest.mark.parametrize("parts", ["both", "matching", "guidance"])
def test_the_gradient_of_distribution_matching_is_the_direction(parts) -> None:
    random = torch.Generator().manual_seed(0)
    drawn, v_text, v_null, v_fake, x = torch.randn(5, 4, 3, generator=random)
    drawn.requires_grad_(True)
    t, g = torch.rand(4, generator=random), torch.full((4,), 3.0)
    loss, _ = flow_map.distribution_matching(drawn, v_text, v_null, v_fake, x, t, g, parts)
    loss.backward()
    direction = {"matching": v_text - v_fake, "guidance": 2 * (v_text - v_null)}
    direction["both"] = direction["matching"] + direction["guidance"]
    left = (1 - t)[:, None]
    scale = (drawn.detach() - x - left * v_text).abs().mean(1, keepdim=True)
    assert torch.allclose(-drawn.grad * drawn.numel(), left * direction[parts] / scale, atol=1e-5)
    same, details = flow_map.distribution_matching(drawn, v_text, v_null, v_text, x, t, g, "matching")
    assert same == 0 and details["matching"] == 0  # the student's pictures are the teacher's: nothing moves


# --------------------------------------------------------------------------------------------------------- students


def layout() -> nn.Module:
    torch.manual_seed(0)
    text = LayoutTextConfig(vocabulary=400, registers=2, summary=8, width=16, depth=1, heads=2)
    config = LayoutDiTConfig(
        channels=3, convolutions=8, conv_depth=(1, 1), width=24, depth=2, heads=2, text=text, labels=(2, 3)
    )
    return awake(LayoutDiT(config)).eval()


@pytest.fixture(params=["dit", "dit in pixels", "layout"])
def teacher(request) -> nn.Module:
    return {"dit": dit, "dit in pixels": lambda: dit("pixels"), "layout": layout}[request.param]()


def inputs(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    size = model.config.size
    x, s = torch.randn(3, 3, size, size, generator=random), 0.5 * torch.rand(3, generator=random)
    return x, s, s + 0.5 * torch.rand(3, generator=random), tokenizer().batch(PROMPTS, 48)


@torch.no_grad()
def test_a_student_begins_as_its_teacher(teacher) -> None:
    x, s, t, tokens = inputs(teacher)
    student = FlowMap(FlowMapConfig(rank=2), teacher).eval()
    for g in (1.0, 7.0):
        for end in (s, t):
            assert torch.equal(student(x, s, end, torch.full((3,), g), tokens), teacher(x, s, tokens))
    moved = awake(student)
    answers = [moved(x, s, end, torch.full((3,), g), tokens) for g in (1.0, 7.0) for end in (s, t)]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(answers) for b in answers[:i])


@torch.no_grad()
def test_what_a_student_has_learned_goes_beside_its_teacher(teacher) -> None:
    x, s, t, tokens = inputs(teacher)
    student, g = FlowMap(FlowMapConfig(rank=2), teacher), torch.full((3,), 2.0)
    random = torch.Generator().manual_seed(2)
    for p in student.parameters():
        if p.requires_grad:
            p.add_(0.1 * torch.randn(p.shape, generator=random))
    assert set(student.trained()) == {name for name, p in student.named_parameters() if p.requires_grad}
    assert not any("text" in name for name in student.trained())
    again = FlowMap(FlowMapConfig(rank=2), teacher)
    again.load_trained(student.trained())
    answer = student(x, s, t, g, tokens)
    assert (answer - teacher(x, s, tokens)).abs().max() > 1e-3
    assert torch.equal(again(x, s, t, g, tokens), answer)
    assert torch.allclose(student.merged()(x, s, t, g, tokens), answer, atol=1e-5)
    with pytest.raises(RuntimeError, match="not those of a student"):
        again.load_trained({"net.up": x})


@torch.no_grad()
def test_the_teacher_in_one_pass_is_guidance(teacher) -> None:
    x, s, _, tokens = inputs(teacher)
    empty = tokenizer().batch([""] * 3, 1)
    both = flow_map.Teacher(teacher, tokens, empty)
    assert torch.allclose(
        both.guided(torch.full((3,), 3.0))(x, s), guided(teacher, tokens, empty, 3.0)(x, s), atol=1e-4
    )
    assert torch.allclose(teacher(x, s, text=both.text), teacher(x, s, tokens), atol=1e-5)


@pytest.mark.parametrize("space", ["latents", "pixels"])
def test_finite_differences_are_the_derivative_by_forward_mode(space) -> None:
    """With attention that is written out, in double precision, for a student that has learned something.

    (The layout model has a part in single precision whatever it is asked in.)
    """
    teacher = dit(space)
    x, s, t, tokens = inputs(teacher)
    student = awake(FlowMap(FlowMapConfig(rank=2), teacher)).double().eval()
    text = student.text(tokens)
    g = torch.full((3,), 2.0, dtype=torch.float64)
    u = lambda x, s, t: student(x, s, t, g, text=text)  # noqa: E731
    v = lambda x, s: torch.ones_like(x)  # noqa: E731
    given = (x.double(), s.double(), t.double())
    with sdpa_kernel(SDPBackend.MATH):
        right = flow_map.mean_flow_jvp(u, v, *given)
        off = [(flow_map.mean_flow(u, v, *given, width=h) - right).abs().max() for h in (2e-5, 1e-5)]
    assert off[1] < 1e-3 * (right - 1).abs().max() and off[0] / off[1] == pytest.approx(4, rel=0.1)


# --------------------------------------------------------------------------------------------- a world with an answer


class Plane(nn.Module):
    """A small network for points in a plane: u(x, s, t)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x, s, t):
        return self.layers(torch.cat([x, torch.stack([s, t - s, s * s, t * t], 1)], 1))


@pytest.mark.parametrize("method", ["reflow", "shortcut", "meanflow", "consistency"])
def test_one_jump_of_a_learned_map_lands_where_the_path_ends(method) -> None:
    world = Mixture(torch.tensor([[1.5, 0.0], [-1.5, 0.5]]), 0.4)
    torch.manual_seed(0)
    u, random = Plane(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(u.parameters(), 3e-3)
    for _ in range(600):
        data, noise = world.sample(256, random), torch.randn(256, 2, generator=random)
        if method == "reflow":
            found = flow_map.reflow(flow_map.path(world.velocity, noise[:64], 32, 1), 4, random)
            x, s, t, target = (found[name] for name in ("x", "s", "t", "target"))
        else:
            s = torch.rand(256, generator=random)
            length = 0.5 ** torch.randint(4, (256,), generator=random)
            s, learned = (s / length).floor() * length, torch.rand(256, generator=random) < 0.75
            t = s + length * learned
            x = (1 - s)[:, None] * noise + s[:, None] * data
            jumps = {
                "shortcut": lambda: flow_map.shortcut(u, x, s, t, 1 / 8),  # noqa: B023
                "meanflow": lambda: flow_map.mean_flow(u, world.velocity, x, s, t),  # noqa: B023
                "consistency": lambda: flow_map.consistency(u, world.velocity, x, s, t, 1 / 16),  # noqa: B023
            }[method]()
            target = torch.where(learned[:, None], jumps, world.velocity(x, s))
        loss, details = flow_map.regression(u(x, s, t), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert details["cosine"] > 0.8
    noise = torch.randn(500, 2, generator=random)
    with torch.no_grad():
        end = flow_map.path(world.velocity, noise, 200, 1)[-1]
        learned = (sample(u, noise, torch.tensor([0.0, 1.0])) - end).square().sum(1).mean().sqrt()
        naive = (noise + world.velocity(noise, torch.zeros(500)) - end).square().sum(1).mean().sqrt()
    assert learned < 0.35 * naive, (float(learned), float(naive))


# ------------------------------------------------------------------------------------------------------ command line


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_PROFILE", "ci")
    flow_weights(tmp_path / "weights" / "flow-tiny", world="shapes", sampler={"steps": 4, "guidance": 2.0})
    return tmp_path


TRAIN = "train distil --teacher flow-tiny --images 32 --batch-size 16 --pictures 32 --paths 32 --teacher-steps 4 --rank 2".split()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_student_that_draws(method, home, capsys) -> None:
    steps = "1" if method == "dmd" else "2"
    assert main([*TRAIN, "--method", method, "--steps", steps]) == 0
    name = f"flow-tiny-{steps if method == 'reflow' else method}"
    student = load(name, "cpu")
    assert student.card["method"] == method and student.card["words"]
    drawn = student(PROMPTS)
    assert drawn.images.shape == (3, 3, 32, 32)
    assert drawn.evaluations == (4 if student.taught is None else int(steps))
    assert (home / "weights" / name / "model.safetensors").stat().st_size < 200_000
    line = (home / "runs" / name / "log.jsonl").read_text().splitlines()[-1]
    assert '"matching"' in line if method == "dmd" else '"error"' in line and '"cosine"' in line


def test_a_student_goes_on_where_it_stopped_and_goes_on_as_another(home) -> None:
    whole = [*TRAIN, "--method", "reflow", "--steps", "2"]
    main([*whole, "--out", str(home / "whole")])
    main([*TRAIN[:4], "--images", "16", *TRAIN[6:], "--method", "reflow", "--steps", "2", "--run", "parts"])
    main([*whole, "--run", "parts", "--out", str(home / "parts")])
    whole_one, parts = (load(home / name).net.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in whole_one.items())
    main([*TRAIN, "--method", "dmd", "--steps", "1", "--student", str(home / "whole")])
    assert load("flow-tiny-dmd")(PROMPTS).evaluations == 1


def test_paths_are_made_once_and_making_them_goes_on(home, monkeypatch) -> None:
    """A student of other steps learns from the same ones; a file that is missing is made as it was."""
    main([*TRAIN, "--method", "reflow", "--steps", "2"])
    (file,) = (home / "paths").glob("flow-tiny-*/*.safetensors")
    before = load_file(file)
    assert before["points"].shape[:2] == (32, 5) and before["guidance"].eq(2).all()
    file.unlink()
    main([*TRAIN, "--method", "reflow", "--steps", "2", "--run", "again"])
    after = load_file(file)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    monkeypatch.setattr("course_utils.recipes.paths.Paths.make", None)
    assert main([*TRAIN, "--method", "reflow", "--steps", "1", "--examples", "1"]) == 0
    with pytest.raises(TypeError):  # the paths of another solver are others
        main([*TRAIN, "--method", "reflow", "--steps", "1", "--teacher-solver", "adams", "--run", "other"])


def test_a_path_is_kept_as_the_teacher_walks_it(home) -> None:
    main([*TRAIN, "--method", "reflow", "--steps", "2"])
    (file,) = (home / "paths").glob("flow-tiny-*/*.safetensors")
    kept, teacher = load_file(file), load("flow-tiny", "cpu")
    empty = teacher.tokenizer.batch([""], 1).expand(32, -1)
    velocity = flow_map.Teacher(teacher.model, kept["tokens"].long(), empty).guided(kept["guidance"])
    points = flow_map.path(velocity, kept["points"][:, 0].float(), 4, 4).movedim(0, 1)
    # fp16 keeps 11 significant bits, and the noise was rounded, too
    assert torch.allclose(points, kept["points"].float(), rtol=0, atol=0.02)
    assert (points[:, 0] - points[:, 4]).abs().mean() > 0.1


def test_what_makes_no_sense_is_said(home, capsys) -> None:
    for words, said in (
        (["--method", "dmd", "--steps", "2"], "add --steps 1"),
        (["--steps", "3"], "must divide"),
        (["--steps", "4", "--examples", "2"], "--examples (2) at most"),
        (["--steps", "4", "3"], "must divide"),
        (["--steps", "4", "0"], "must be 1 at least"),
        (["--method", "shortcut", "--steps", "2", "4"], "teaches 1, 2, 4, 8"),
        (["--paths", "0"], "must be 1 at least"),
        (["--method", "shortcut", "--steps", "3"], "teaches 1, 2, 4, 8"),
        (["--method", "consistency"], "--steps is 8; it must divide"),
        (["--method", "consistency", "--steps", "4", "3"], "--steps is 3; it must divide"),
        (["--guidance", "3", "1"], "a lowest and a highest"),
    ):
        assert main([*TRAIN, *words]) != 0
        assert said in capsys.readouterr().err


def test_one_student_of_several_numbers_of_steps(home) -> None:
    assert main([*TRAIN, "--method", "reflow", "--steps", "2", "1", "4", "--examples", "3"]) == 0
    student = load("flow-tiny-reflow")
    assert student.taught == [2, 1, 4] and student(PROMPTS).evaluations == 2
    pictures = [student(PROMPTS, steps=steps) for steps in (1, 2, 4)]
    assert [one.evaluations for one in pictures] == [1, 2, 4]
    assert not torch.equal(pictures[0].images, pictures[2].images)


def test_a_student_draws_in_the_steps_that_it_was_taught(home) -> None:
    main([*TRAIN, "--method", "reflow", "--steps", "2"])
    student = load("flow-tiny-2", "cpu")
    with pytest.raises(CourseError, match="draws in 2 steps, and 5 were asked for"):
        student(PROMPTS, steps=5)
    with pytest.raises(CourseError, match="no solver to choose"):
        student.using(solver="heun")
    flow_weights(home / "weights" / "flow-tiny", world="shapes", sampler={"steps": 5, "guidance": 2.0}, words=["red"])
    card = load("flow-tiny-2", "cpu").card  # the weights are the same, only their card has changed
    assert card["sampler"]["steps"] == 2


def test_students_that_ship_are_nearer_to_their_teacher_than_what_costs_it_as_much() -> None:
    teacher = load("flow-shapes", "cpu")
    long = teacher(PROMPTS, steps=16).images
    for name, steps in (("flow-shapes-4", 4), ("flow-shapes-1", 1)):
        student = load(shipped(name), "cpu")(PROMPTS)
        assert student.evaluations == steps
        controls = [teacher(PROMPTS, steps=max(1, steps // 2)), teacher(PROMPTS, steps=steps, guidance=1.0)]
        nearest = min((control.images - long).abs().mean() for control in controls)  # the same noise
        assert (student.images - long).abs().mean() < 0.8 * nearest
