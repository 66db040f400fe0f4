"""The step of training that is recorded once and replayed: the same numbers as the ordinary one, and clear refusals."""

import functools
import random

import numpy as np
import pytest
import torch
from test_training import assert_same, config, network, noisy_sine, noisy_square, plain, sine, square, stop_at, weights
from torch import nn

from course_utils.common import CourseError
from course_utils.training import checkpoints, distributed, step, train

# These rates are numbers that 32 bits hold exactly, as a recorded step reads them in 32 bits.
EXACT = {"learning_rate": 2**-7, "warmup_images": 512, "decay": "constant"}


class Again:
    """Stands where the recorder of a GPU does: what was recorded is computed by running the function again."""

    recorded = replayed = ran = 0

    def __init__(self, device):
        Again.recorded = Again.replayed = Again.ran = 0

    def run(self, function):
        Again.ran += 1
        return function()

    def record(self, function):
        Again.recorded += 1
        row = torch.empty(0)

        def replay():
            Again.replayed += 1
            out = function()
            row.resize_(out.shape).copy_(out)

        return replay, row


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def again(monkeypatch):
    monkeypatch.setattr(step, "Recorder", Again)


def without(history, *names):
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second", *names)} for line in history]


def both(loss, batches, **changes):
    """The ordinary run and the recorded one."""
    return (train(network(), loss, batches, config(**EXACT, **changes, graph=graph)) for graph in (False, True))


def assert_equal_but_for_rounding_of_the_average(one, two):
    """Losses and weights to the bit; averages are made by other operations (a - b and a sum, not one lerp): to a few roundings."""
    assert without(one.history) == without(two.history)
    one, two = weights(one), weights(two)
    assert [name for name in one if name.startswith("model.") and not torch.equal(one[name], two[name])] == []
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_a_recorded_step_computes_what_the_ordinary_one_does(again):
    ordinary, recorded = both(noisy_square, noisy_sine, clip=0.05)
    assert (Again.ran, Again.recorded, Again.replayed) == (3, 1, 47)
    assert ordinary.history[-1]["loss"] < ordinary.history[0]["loss"]
    assert_equal_but_for_rounding_of_the_average(ordinary, recorded)


def test_a_schedule_that_32_bits_do_not_hold_is_followed_closely(again):
    plain_run, recorded = (
        train(plain(), square, sine, config(decay="cosine", learning_rate=0.01, graph=graph)) for graph in (False, True)
    )
    for name, value in weights(plain_run).items():
        torch.testing.assert_close(weights(recorded)[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert not torch.equal(recorded.model[0].weight, plain()[0].weight)


def test_a_batch_that_is_not_finite_is_skipped_by_a_recorded_step_too(again):
    def some_bad(position, n, generator):
        points, values = sine(position, n, generator)
        return points, values if position not in (32, 320) else values * torch.inf  # before it is recorded, and after

    ordinary, recorded = both(square, some_bad)
    assert recorded.history[-1]["skipped"] == 2
    assert all(value.isfinite().all() for value in weights(recorded).values())
    assert_equal_but_for_rounding_of_the_average(ordinary, recorded)


def test_five_bad_batches_in_a_row_stop_a_recorded_run(again):
    def bad(position, n, generator):
        points, values = sine(position, n, generator)
        return points, values / (position < 480)

    with pytest.raises(CourseError, match="stopped at step 20:"):
        train(network(0), square, bad, config(graph=True))


def stopped_at(folder, image, graph):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with pytest.raises(Stop):
        train(network(), noisy_square, stop_at(image, stop), config(**EXACT, graph=graph), folder=folder)


def test_a_stopped_run_goes_on_exactly(again, tmp_path):
    """Each session makes its first steps as ever and records anew; neither makes a step twice."""
    whole = train(network(), noisy_square, noisy_sine, config(**EXACT, graph=True))
    for image in (700, 1500):
        stopped_at(tmp_path, image, True)
    result = train(network(), noisy_square, noisy_sine, config(**EXACT, graph=True), folder=tmp_path)
    assert Again.recorded == 1
    assert_same(result, whole)
    assert without(result.history) == without(whole.history)


@pytest.mark.parametrize("first", [False, True], ids=["ordinary first", "recorded first"])
def test_a_run_may_go_on_the_other_way(again, tmp_path, first):
    """Also one that was begun before there was a choice: its checkpoint says nothing of it."""
    whole = train(network(), noisy_square, noisy_sine, config(**EXACT))
    stopped_at(tmp_path, 700, first)
    saved = checkpoints.newest(tmp_path)
    assert saved["settings"].pop("graph") == first
    checkpoints.save(tmp_path, saved["progress"]["images"], saved, keep=1)
    result = train(network(), noisy_square, noisy_sine, config(**EXACT, graph=not first), folder=tmp_path)
    assert_equal_but_for_rounding_of_the_average(whole, result)


# Refusals


def test_what_cannot_be_recorded_is_said_in_a_sentence(again, monkeypatch):
    def run(loss=square, batches=sine, **changes):
        return functools.partial(train, network(), loss, batches, **changes)

    with pytest.raises(CourseError, match="`accumulate` is 2"):
        config(graph=True, accumulate=2)
    with pytest.raises(CourseError, match="the loop's own optimiser"):
        run(optimiser_of=lambda model, _: torch.optim.SGD(model.parameters()))(config(graph=True))

    def other_shapes(position, n, generator):
        points, values = sine(position, n, generator)
        return (points, values) if position < 320 else (points[1:], values[1:])

    with pytest.raises(CourseError, match=r"had a tensor \(32, 2\) of float32, and now there is a tensor \(31, 2\)"):
        run(batches=other_shapes)(config(graph=True))

    def with_a_number(position, n, generator):
        return {"at": sine(position, n, generator), "number": position}

    with pytest.raises(CourseError, match="had 0, and now there is 32"):
        run(lambda model, batch: square(model, batch["at"]), with_a_number)(config(graph=True))

    def moved(model, batch):
        return square(model, (batch[0] + random.random(), batch[1]))

    with pytest.raises(CourseError, match="draws random numbers beside the device"):
        run(moved)(config(graph=True))

    def fails(self, function):
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        finally:
            raise RuntimeError("the end of the recording failed, too")

    monkeypatch.setattr(Again, "record", fails)
    with pytest.raises(CourseError, match=r"cannot be recorded \(operation not permitted when stream is capturing\);"):
        run()(config(graph=True))
    monkeypatch.setattr(distributed, "ranks", lambda: 2)
    with pytest.raises(CourseError, match="for one process"):
        run()(config(graph=True))


@pytest.mark.parametrize(
    "draw", [random.random, np.random.rand, lambda: torch.rand(1)], ids=["random", "numpy", "torch"]
)
def test_what_is_drawn_beside_a_gpu_is_seen(draw):
    before = step.host_random(torch.device("cuda"))
    assert step.host_random(torch.device("cuda")) == before
    draw()
    assert step.host_random(torch.device("cuda")) != before


def test_without_a_gpu_nothing_is_recorded():
    with pytest.raises(CourseError, match="need a CUDA device, and this is cpu"):
        train(network(), square, sine, config(graph=True))


# On a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_replays_what_it_would_compute(tmp_path, compiled, precision):
    """With noise and dropout: random numbers go on as they would. Within roundings, as kernels may add in another order."""
    how = {**EXACT, "device": "cuda", "compile": compiled, "precision": precision}
    results = []
    for graph in (False, True):
        torch._dynamo.reset()
        results.append(train(network(), noisy_square, noisy_sine, config(**how, graph=graph)))
    ordinary, recorded = results
    noise = torch.cuda.get_rng_state()
    for one, two in zip(ordinary.history, recorded.history, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-2)
    for name, value in weights(ordinary).items():
        torch.testing.assert_close(weights(recorded)[name], value, rtol=1e-2, atol=1e-3, msg=name)

    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with pytest.raises(Stop):
        train(network(), noisy_square, stop_at(700, stop), config(**how, graph=True), folder=tmp_path)
    resumed = train(network(), noisy_square, noisy_sine, config(**how, graph=True), folder=tmp_path)
    assert torch.equal(torch.cuda.get_rng_state(), noise)
    for name, value in weights(recorded).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_skips_a_batch_that_is_not_finite():
    def some_bad(position, n, generator):
        points, values = sine(position, n, generator)
        return points, values * (torch.inf if position == 640 else 1.0)

    result = train(network(), square, some_bad, config(device="cuda", graph=True))
    assert result.history[-1]["skipped"] == 1
    assert all(value.isfinite().all() for value in weights(result).values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_loss_that_waits_for_the_gpu_is_refused():
    def waits(model, batch):
        value, details = square(model, batch)
        return value * (1 if value.item() > 0 else 2), details

    with pytest.raises(CourseError, match="cannot be recorded"):
        train(nn.Sequential(nn.Linear(2, 1)), waits, sine, config(device="cuda", graph=True))
