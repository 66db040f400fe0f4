"""Solvers and times of steps against a mixture whose velocity is exact, and as options of a generator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from small import flow_weights, shipped

from course_utils.common import CourseError
from course_utils.generators import load
from course_utils.generators.solvers import SCHEDULES, SOLVERS, dpm, euler
from course_utils.worlds.mixture import Mixture

MEANS = torch.tensor([[1.0, 0.5], [-1.0, 0.3], [0.2, -1.1]], dtype=torch.float64)
WORLD = Mixture(MEANS, 0.5)
PROMPTS = ["a small red circle", "三个蓝色的方块"]


def noise(n: int = 64) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def end() -> torch.Tensor:
    """Where the exact paths end, to about eight digits."""
    return SOLVERS["heun"][0](WORLD.velocity, noise(), 4_000)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("adams", 2)])
@pytest.mark.parametrize("schedule", ["uniform", "shifted", "cosine"])
def test_the_error_falls_with_the_order_of_the_solver(solver, order, schedule, end) -> None:
    solve, _ = SOLVERS[solver]
    off = [float((solve(WORLD.velocity, noise(), SCHEDULES[schedule](n)) - end).abs().mean()) for n in (200, 400)]
    assert math.log2(off[0] / off[1]) == pytest.approx(order, abs=0.1)


def test_dpm_is_of_the_second_order_up_to_a_logarithm(end) -> None:
    """Near both ends a step in λ does not shrink, whatever Δt; what that costs sums up to Δt² log(1 / Δt)."""
    off = [float((dpm(WORLD.velocity, noise(), SCHEDULES["uniform"](n)) - end).abs().mean()) for n in (200, 400, 800)]
    for n, (one, half) in zip((200, 400), itertools.pairwise(off), strict=True):
        with_logarithm = 2 - math.log2(math.log(2 * n) / math.log(n))
        assert with_logarithm - 0.1 < math.log2(one / half) < 2.1


def test_dpm_is_exact_where_the_data_are_one_point() -> None:
    """There the data that the velocity tells are always the same, and continuing them is right."""
    point = Mixture(torch.tensor([[2.0, -1.0]], dtype=torch.float64), 0.0)
    for schedule in SCHEDULES.values():
        assert torch.allclose(dpm(point.velocity, noise(), schedule(3)), point.means.expand(64, -1), atol=1e-12)


def test_the_first_two_steps_and_the_last_of_dpm_are_eulers() -> None:
    for times in ([0.0, 1.0], [0.0, 0.3, 1.0], [0.0, 0.2, 0.6, 1.0]):
        steps = torch.tensor(times, dtype=torch.float64)
        assert torch.allclose(dpm(WORLD.velocity, noise(), steps), euler(WORLD.velocity, noise(), steps), atol=1e-12)
    steps = SCHEDULES["uniform"](4)
    assert not torch.allclose(dpm(WORLD.velocity, noise(), steps), euler(WORLD.velocity, noise(), steps), atol=1e-3)


def test_one_step_of_dpm_by_hand() -> None:
    """From 0.5 to 0.8 after a step from 0.25: h = log 4, the one before log 3, data 1 and then 3."""
    told = iter([9.0, 1.0, 3.0, 5.0])
    seen: list[torch.Tensor] = []

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return (next(told) - x) / (1 - t)[:, None]

    x = torch.zeros(1, 1, dtype=torch.float64)
    dpm(velocity, x, torch.tensor([0.0, 0.25, 0.5, 0.8, 1.0], dtype=torch.float64))
    ahead = 3 + math.log(4) / (2 * math.log(3)) * (3 - 1)
    assert float(seen[3]) == pytest.approx(0.2 / 0.5 * float(seen[2]) + 0.3 / 0.5 * ahead)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_times_rise_from_noise_to_data(schedule) -> None:
    for n in (1, 2, 5, 50):
        times = SCHEDULES[schedule](n)
        assert times.shape == (n + 1,) and times[0] == 0 and times[-1] == 1
        assert (times.diff() > 0).all()


def test_schedules_by_hand() -> None:
    assert SCHEDULES["shifted"](2)[1] == pytest.approx(0.25)  # the level 1/2 becomes 3/4
    assert SCHEDULES["cosine"](2)[1] == pytest.approx(0.5)
    assert SCHEDULES["cosine"](3)[1] == pytest.approx(1 / (1 + math.sqrt(3)))  # tan 30° = 1/√3
    levels = (1 - SCHEDULES["karras"](5)[1:-1]) / SCHEDULES["karras"](5)[1:-1]
    roots = levels ** (1 / 7)
    assert torch.allclose(roots.diff(), roots.diff()[0].expand(3), atol=1e-9) and levels[-1] == pytest.approx(0.002)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory):
    return load(flow_weights(tmp_path_factory.mktemp("weights") / "tiny"), "cpu")


def test_a_generator_takes_another_sampler_and_keeps_its_own(generator) -> None:
    plain = generator(PROMPTS, steps=4)
    other = generator.using(solver="heun", schedule="shifted")
    assert other.model is generator.model and (generator.solver, generator.schedule) == ("euler", "uniform")
    drawn = other(PROMPTS, steps=4)
    assert drawn.evaluations == 2 * plain.evaluations == 16
    assert (drawn.images - plain.images).abs().max() > 1e-3
    assert torch.equal(generator.using(solver="euler", schedule="uniform")(PROMPTS, steps=4).images, plain.images)
    one = generator.using(solver="dpm++")
    assert torch.allclose(one(PROMPTS, steps=1).images, generator(PROMPTS, steps=1).images, atol=1e-5)


def test_an_interval_that_is_everything_is_none(generator) -> None:
    plain = generator(PROMPTS, steps=4)
    everywhere = generator.using(interval=(0.0, 2.0))(PROMPTS, steps=4)
    assert torch.equal(everywhere.images, plain.images) and everywhere.evaluations == plain.evaluations
    nowhere = generator.using(interval=(2.0, 3.0))(PROMPTS, steps=4)
    assert torch.allclose(nowhere.images, generator(PROMPTS, steps=4, guidance=1.0).images, atol=1e-6)
    assert nowhere.evaluations == 4


def test_names_that_there_are_not(generator) -> None:
    with pytest.raises(CourseError, match="no solver 'ddim'; choose from euler, heun"):
        generator.using(solver="ddim")
    with pytest.raises(CourseError, match="no schedule 'linear'"):
        generator.using(schedule="linear")
    with pytest.raises(CourseError, match="two rising times"):
        generator.using(interval=(0.5, 0.5))


def test_the_shipped_generator_with_many_steps_is_the_same_whatever_the_solver() -> None:
    """All solvers follow the same paths; after 64 steps they lie close together, far closer than after 8."""
    generator = load(shipped("flow-shapes"), "cpu")
    draw = lambda name, steps: generator.using(solver=name)(PROMPTS, steps=steps).images  # noqa: E731
    for solver in ("adams", "dpm++"):
        near = (draw(solver, 64) - draw("heun", 64)).abs().mean()
        far = (draw("euler", 8) - draw("heun", 64)).abs().mean()
        assert near < 0.01 and near < far / 4, (solver, near, far)
