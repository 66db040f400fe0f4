"""The training loop: equal to a loop written out by hand, exact after every kind of interruption, clear in every failure."""

import functools
import hashlib
import importlib.machinery
import importlib.util
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import torch
import tqdm.auto
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.common import CourseError
from course_utils.training import (
    ProgressBar,
    TensorBoard,
    TrainConfig,
    WeightsAndBiases,
    ema_decay,
    hardware,
    learning_rate,
    load_weights,
    train,
)
from course_utils.training.checkpoints import PATTERN
from course_utils.training.ema import Ema

ROOT = Path(__file__).resolve().parent.parent
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
SMALL = {"batch_size": 32, "warmup_images": 320, "ema_half_life_images": 500, "precision": "fp32", "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(images=1600, **changes):
    return TrainConfig(**{"images": images, "log_every_images": 320, "checkpoint_images": 160, **SMALL, **changes})


def network(dropout=0.1):
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 1))


def plain():
    """Without dropout and without batch norm, which sees other statistics in other batch sizes."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 1))


def sine(position, n, generator):
    """Images `position` to `position + n` of an endless row: here points and the value of a function there."""
    index = torch.arange(position, position + n, dtype=torch.float64, device=generator.device)
    points = torch.stack([(index * 0.618034) % 2 - 1, (index * 0.754878) % 2 - 1], 1).float()
    return points, torch.sin(3 * points[:, :1]) * points[:, 1:]


def noisy_sine(position, n, generator):
    points, values = sine(position, n, generator)
    return {"points": points, "values": values + 0.1 * torch.randn(n, 1, generator=generator, device=generator.device)}


def square(model, batch):
    points, values = batch
    error = (model(points) - values).square().mean()
    return error, {"root": error.detach().sqrt()}


def noisy_square(model, batch):
    """With noise from the global generator, as a flow model's loss has."""
    return square(model, (batch["points"] + 0.01 * torch.randn_like(batch["points"]), batch["values"]))


def weights(result):
    both = {"model": result.model.state_dict(), "ema": result.ema_model.state_dict()}
    return {f"{which}.{name}": value.cpu() for which, state in both.items() for name, value in state.items()}


def assert_same(one, two):
    one, two = weights(one), weights(two)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def without_times(history):
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in history]


def stop_at(where, action, batches=noisy_sine):
    """Batches that call `action` when image `where` is asked for."""

    def stopping(position, n, generator):
        if position <= where < position + n:
            action()
        return batches(position, n, generator)

    return stopping


@pytest.fixture(scope="module")
def unbroken():
    torch.set_num_threads(1)
    return train(network(), noisy_square, noisy_sine, config(accumulate=2))


# What it computes


@pytest.mark.parametrize("device", DEVICES)
def test_fits_a_known_function(device):
    result = train(plain(), square, sine, config(32_000, batch_size=128, learning_rate=0.05, device=device))
    assert result.history[0]["loss"] > 0.1
    assert result.history[-1]["loss"] < 0.005
    points, values = sine(100_000, 1000, torch.Generator(device))
    with torch.no_grad():
        assert (result.ema_model(points) - values).square().mean() < 0.003
    assert result.history[-1]["root"] == pytest.approx(math.sqrt(result.history[-1]["loss"]), rel=0.1)


def test_equals_a_loop_written_out_by_hand():
    settings = config(640, clip=0.05, decay="linear", decay_fraction=0.25, weight_decay=0.3, learning_rate=0.01)
    result = train(plain(), square, sine, settings)

    model, average = plain(), plain()
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim == 1]
    assert (len(matrices), len(others)) == (2, 2)
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=False)
    norms = []
    for step in range(20):
        middle = step * 32 + 16
        rate = 0.01 * min(middle / 320, 1) * min((640 - middle) / 160, 1)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        square(model, sine(step * 32, 32, torch.Generator()))[0].backward()
        norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters())))
        for p in model.parameters():
            p.grad *= min(1, 0.05 / norms[-1])
        optimiser.step()
        seen = (step + 1) * 32
        decay = 0.5 ** (32 / min(500, seen / 10))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.copy_(decay * slow + (1 - decay) * fast)
    assert min(norms) > 0.05  # clipping was at work
    assert result.history[0]["gradient_norm"] == pytest.approx(sum(norms[:10]) / 10, rel=1e-3)
    for trained, by_hand in ((result.model, model), (result.ema_model, average)):
        for name, value in by_hand.named_parameters():
            torch.testing.assert_close(trained.get_parameter(name), value, rtol=1e-4, atol=1e-6, msg=name)


def test_accumulation_changes_memory_only():
    whole, parts = (train(plain(), square, sine, config(640, accumulate=n)) for n in (1, 4))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert whole.history[-1]["loss"] == pytest.approx(parts.history[-1]["loss"], rel=1e-4)


@pytest.mark.parametrize(
    "decay, seen, share",
    [
        ("cosine", 0, 0), ("cosine", 50, 0.5), ("cosine", 100, 1), ("cosine", 600, 1), ("cosine", 800, 0.5),
        ("cosine", 700, (1 + math.cos(math.pi / 4)) / 2), ("cosine", 1000, 0), ("linear", 700, 0.75),
        ("linear", 900, 0.25), ("linear", 1016, 0), ("constant", 1000, 1),
    ],
)  # fmt: skip
def test_learning_rate(decay, seen, share):
    settings = TrainConfig(images=1000, warmup_images=100, decay=decay, decay_fraction=0.4, learning_rate=0.2)
    assert learning_rate(settings, seen) == pytest.approx(0.2 * share)


def test_ema_of_a_sequence_worked_out_by_hand():
    assert ema_decay(1000, 1_000_000, 500) == pytest.approx(0.5**0.5)
    assert ema_decay(1000, 1_000_000, 1000) == pytest.approx(0.5)
    assert ema_decay(1000, 100, 100) == pytest.approx(0.5**10)  # early: the half-life is a tenth of what was seen
    model = nn.Linear(1, 1, bias=False)
    model.register_buffer("count", torch.tensor([0, 0]))
    nn.init.constant_(model.weight, 8.0)
    ema = Ema(model, half_life_images=10)
    good = torch.tensor(True)
    for seen, weight, expected in ((1000, 0.0, 4.0), (1010, 0.0, 2.0), (1020, 6.0, 4.0)):  # half a step, each step
        nn.init.constant_(model.weight, weight)
        model.count += 1
        ema.update(ema.share(seen, 10), good)
        assert ema.model.weight.item() == pytest.approx(expected)
    assert ema.model.count.tolist() == [3, 3]
    model.count += 1
    ema.update(ema.share(1030, 10), ~good)  # a skipped step: its buffers go back
    assert model.count.tolist() == ema.model.count.tolist() == [3, 3]


def test_bf16_and_compile_learn_too(monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # traced, not generated
    settings = config(3200, precision="bf16", compile=True, learning_rate=0.01)
    result = train(network(0), square, sine, settings)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    assert result.model[0].weight.dtype == torch.float32
    assert list(result.model.state_dict()) == list(network().state_dict())


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_waits_for_the_device_between_logs(device):
    class Count(TorchDispatchMode):
        waits = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.waits += function is torch.ops.aten._local_scalar_dense.default
            return function(*args, **(kwargs or {}))

    def waits(images):
        with Count() as count:
            train(network(), noisy_square, noisy_sine, config(images, log_every_images=10**9, device=device))
        return count.waits

    assert waits(320) == waits(640)


# Numbers that are not finite


def test_a_batch_that_is_not_finite_is_skipped():
    def some_bad(position, n, generator):
        points, values = sine(position, n, generator)
        return points, values if position != 320 else values * math.nan

    def bad_inside(position, n, generator):  # reaches the statistics of batch norm as well
        points, values = sine(position, n, generator)
        return points if position != 320 else points * math.inf, values

    def bad_loss(model, batch):  # with a gradient that is finite
        value, details = square(model, batch)
        return value + torch.where((batch[0][0] == sine(320, 1, torch.Generator())[0][0]).all(), math.inf, 0.0), details

    for loss, batches in ((square, some_bad), (square, bad_inside), (bad_loss, sine)):
        seen = []

        def remember(state, seen=seen):
            seen.append({name: value.clone() for name, value in state.model.state_dict().items()})

        remember.every_images = 0
        result = train(network(0), loss, batches, config(640, log_every_images=32), callbacks=[remember])
        assert all(torch.equal(seen[9][name], seen[10][name]) for name in seen[9])
        assert not torch.equal(seen[10]["0.weight"], seen[11]["0.weight"])
        assert all(value.isfinite().all() for value in weights(result).values())
        assert [line["skipped"] for line in result.history] == [0] * 10 + [1] * 10
        assert result.history[10]["loss"] is None


def test_five_in_a_row_stop_the_run(tmp_path):
    def bad(position, n, generator):
        points, values = sine(position, n, generator)
        return points, values / (position < 480)

    with pytest.raises(CourseError) as error:
        train(network(0), square, bad, config(), folder=tmp_path)
    newest = max(tmp_path.glob(PATTERN))
    assert "stopped at step 20:" in str(error.value)
    assert "last finite loss: 0." in str(error.value)
    assert "image 608" in str(error.value)
    assert f"init=load_weights({str(newest)!r}, ema=False)" in str(error.value)
    assert all(value.isfinite().all() for value in load_weights(newest).values())


# Stopping and going on


def test_a_signal_saves_and_the_run_goes_on_exactly(tmp_path, unbroken):
    for number, where in ((signal.SIGTERM, 500), (signal.SIGINT, 1000)):
        with pytest.raises(CourseError, match=rf"Stopped by {number.name} after .* saved in"):
            stopping = stop_at(where, lambda number=number: os.kill(os.getpid(), number))
            train(network(), noisy_square, stopping, config(accumulate=2, checkpoint_images=10**9), folder=tmp_path)
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path)
    assert_same(result, unbroken)
    assert without_times(result.history) == without_times(unbroken.history)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_kill_9_at_any_step_and_the_run_goes_on_exactly(tmp_path, unbroken):
    for where in sorted(torch.randint(200, 1600, (1,)).tolist()):
        code = f"import test_training as t; t.run_until_killed({str(tmp_path)!r}, {where})"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert done.returncode == -signal.SIGKILL, where
    (tmp_path / ".000000000480.x.part.pt").write_bytes(b"left by a run that was killed while it wrote")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"images": 1600, "loss": 1}\n{"ima')  # lines beyond the checkpoint, the last one torn
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path)
    assert_same(result, unbroken)
    assert log_of(tmp_path) == result.history
    assert without_times(result.history) == without_times(unbroken.history)
    assert [line["images"] for line in result.history] == [320, 640, 960, 1280, 1600]
    assert sorted(path.name[:12] for path in tmp_path.iterdir()) == [
        "000000001440",
        "000000001600",
        "lock",
        "log.jsonl",
    ]
    again = train(
        network(), noisy_square, None, config(accumulate=2), folder=tmp_path
    )  # already done: asks for no data
    assert_same(again, unbroken)


def test_two_trainings_in_one_folder_are_one_and_a_sentence(tmp_path, unbroken):
    code = f"import test_training as t; t.run_until_it_may_end({str(tmp_path)!r})"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment)
    try:
        while not (tmp_path / "waits").exists():
            assert first.poll() is None
            time.sleep(0.1)
        before = sorted(tmp_path.iterdir())
        for resume in (True, False):
            with pytest.raises(CourseError, match=f"Another training is at work in {tmp_path}"):
                train(network(), noisy_square, None, config(accumulate=2), folder=tmp_path, resume=resume)
        assert sorted(tmp_path.iterdir()) == before
    finally:
        first.kill()
        first.wait()
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path)  # the lock died with it
    assert_same(result, unbroken)


def run_until_it_may_end(folder):
    """Trains until image 500, says so by a file, and waits."""
    torch.set_num_threads(1)
    stopping = stop_at(500, lambda: (Path(folder, "waits").touch(), time.sleep(600)))
    train(network(), noisy_square, stopping, config(accumulate=2), folder=folder)


def test_a_folder_that_cannot_be_one_is_said_before_training(tmp_path):
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below", "a\0b", ""):
        with pytest.raises(CourseError, match=r"Cannot write|is no name"):
            train(network(), noisy_square, None, config(), folder=wrong)  # asks for no data


def run_until_killed(folder, where):
    torch.set_num_threads(1)
    stopping = stop_at(where, lambda: os.kill(os.getpid(), signal.SIGKILL))
    train(network(), noisy_square, stopping, config(accumulate=2), folder=folder)


def stopped_run(folder):
    """A folder with checkpoints at 480 and 640 images."""

    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with pytest.raises(Stop):
        train(network(), noisy_square, stop_at(700, stop), config(accumulate=2), folder=folder)
    older, newest = sorted(folder.glob(PATTERN))
    return older, newest


DAMAGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "garbage": lambda data: b"garbage" * 1000,
    "one bit": lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, capsys, unbroken, damage):
    newest = stopped_run(tmp_path)[1]
    newest.write_bytes(damage(newest.read_bytes()))
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2, keep=1), folder=tmp_path)
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert str(newest) in warning
    assert_same(result, unbroken)
    assert [path.name[:12] for path in tmp_path.glob(PATTERN)] == ["000000001600"]


def test_without_a_readable_checkpoint_it_says_so(tmp_path, unbroken):
    for path in stopped_run(tmp_path):
        path.write_bytes(b"garbage")
    with pytest.raises(CourseError, match="None of the 2 checkpoints"):
        train(network(), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path)
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path, resume=False)
    assert_same(result, unbroken)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    data = pickle.dumps(Evil(), protocol=2)
    path = tmp_path / f"{32:012d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
    path.write_bytes(data)
    with pytest.raises(CourseError):
        load_weights(path)
    assert not (tmp_path / "evil").exists()


def test_another_run_is_refused_and_the_difference_named(tmp_path):
    stopped_run(tmp_path)
    go_on = functools.partial(train, network(), noisy_square, noisy_sine, folder=tmp_path)
    with pytest.raises(CourseError, match=r"learning_rate = 0\.001, and now it is 0\.5"):
        go_on(config(accumulate=2, learning_rate=0.5))
    with pytest.raises(CourseError, match="world = None, and now it is 'emoji'"):
        go_on(config(accumulate=2), about={"world": "emoji"})
    with pytest.raises(CourseError, match=r"does not fit the model .*Unexpected key"):
        train(nn.Sequential(nn.Linear(3, 32)), noisy_square, noisy_sine, config(accumulate=2), folder=tmp_path)
    longer = go_on(config(1920, accumulate=2, keep=3, checkpoint_images=None))  # this is the same run, only longer
    assert longer.history[-1]["images"] == 1920


def test_init_starts_from_given_weights(tmp_path):
    first = train(network(), noisy_square, noisy_sine, config(), folder=tmp_path)
    assert_same(first, train(network(), noisy_square, noisy_sine, config(), folder=tmp_path))
    start = load_weights(tmp_path)
    assert all(torch.equal(start[name], value) for name, value in first.ema_model.state_dict().items())
    assert torch.equal(load_weights(tmp_path, ema=False)["0.weight"], first.model[0].weight)
    still = train(network(), square, sine, config(32, learning_rate=1e-12), init=start)
    torch.testing.assert_close(still.model[0].weight, start["0.weight"])
    with pytest.raises(CourseError, match="given as `init` does not fit"):
        train(network(), square, sine, config(), init={"other": torch.zeros(1)})
    with pytest.raises(CourseError, match="no checkpoint"):
        load_weights(tmp_path / "nowhere")


def test_a_file_size_limit_leaves_nothing_half_written(tmp_path):
    resource = pytest.importorskip("resource", reason="no file-size limits on this system")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    stopping = stop_at(200, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1])))
    try:
        with pytest.raises(CourseError, match=r"Cannot write .*000000000320.*\.pt: File too large"):
            train(network(), noisy_square, stopping, config(), folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name[:12] for path in sorted(tmp_path.iterdir())] == ["000000000160", "lock", "log.jsonl"]
    assert load_weights(tmp_path)["0.weight"].shape == (32, 2)


# What it says


def test_callbacks_report_and_do_not_disturb(unbroken):
    class Measure:
        every_images = 500
        called: tuple = ()

        def __call__(self, state):
            state.model.eval()
            torch.rand(3)
            self.called += (state.images,)
            return {"error": square(state.ema_model, sine(0, 100, torch.Generator()))[0].item()}

    measure = Measure()
    result = train(network(), noisy_square, noisy_sine, config(accumulate=2), callbacks=[measure])
    assert measure.called == (640, 1280, 1600)  # the first log point after each 500 images, and the end
    assert ["error" in line for line in result.history] == [False, True, False, True, True]
    assert_same(result, unbroken)


def test_progress_bar_and_tensorboard(tmp_path, capsys, monkeypatch):
    class Shown(tqdm.auto.tqdm):
        def __init__(self, **settings):
            super().__init__(**settings, disable=False)  # whatever TQDM_DISABLE says

    monkeypatch.setattr(tqdm.auto, "tqdm", Shown)
    train(network(), square, sine, config(), folder=tmp_path, callbacks=[ProgressBar(), TensorBoard()])
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert re.search(r"1\.60k/1\.60k images, loss 0\.\d{4}, [\d,]+ images/s, 00:00 left", shown)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    scalars = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [scalar.step for scalar in scalars] == [320, 640, 960, 1280, 1600]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(network(), square, sine, config(), folder=tmp_path / "b", callbacks=[TensorBoard()])
    assert capsys.readouterr().out.count("TensorBoard is not installed") == 1
    with pytest.raises(CourseError, match="needs a folder"):
        train(network(), square, sine, config(), callbacks=[TensorBoard()])


def test_weights_and_biases(tmp_path, monkeypatch):
    """A package of that name that writes down what it is told; the real one needs an account."""
    told = []

    class Run:
        def log(self, line, step):
            told.append((step, line["loss"]))

        def finish(self):
            told.append("finished")

    fake = types.ModuleType("wandb")
    fake.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    fake.init = lambda **given: told.append(given) or Run()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    result = train(network(), square, sine, config(), folder=tmp_path / "mine", callbacks=[WeightsAndBiases("course")])
    assert told[0]["project"] == "course" and told[0]["id"] == "mine" and told[0]["config"]["images"] == 1600
    assert told[1:-1] == [(line["images"], pytest.approx(line["loss"], rel=1e-5)) for line in result.history]
    assert told[-1] == "finished"
    monkeypatch.delitem(sys.modules, "wandb")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match="wandb is missing"):
        WeightsAndBiases("course")


def test_operations_are_counted_by_hand():
    """Forward 2·n·a·b for each matrix; backward the same for its gradient, and again for that of its input, but not of the data."""
    model = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, 1))
    assert hardware.operations(model, square, sine(0, 8, torch.Generator()), 8) == 2 * (2 * 64 + 3 * 32)
    assert all(p.grad is None for p in model.parameters())


def test_hardware_is_logged_and_does_not_disturb(unbroken, monkeypatch):
    monkeypatch.setattr(hardware, "ceiling", lambda device, bf16: 1e6)
    watch = hardware.Hardware(noisy_square, noisy_sine, config())
    result = train(network(), noisy_square, watch.batches, config(accumulate=2), callbacks=[watch])
    assert_same(result, unbroken)
    for line in result.history:
        assert line["utilisation"] == pytest.approx(line["images_per_second"] * watch.operations / 1e6, rel=1e-4)
        assert 0.01 < line["memory_gb"] < 100 and "watts" not in line
    monkeypatch.undo()
    assert 1e8 < hardware.ceiling(torch.device("cpu"), False) < 1e14


@pytest.mark.parametrize(
    "change",
    [{"images": 0}, {"accumulate": 5}, {"decay": "step"}, {"precision": "fp8"}, {"decay_fraction": 2}],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_refused(change):
    with pytest.raises(CourseError, match=next(iter(change))):
        config(**change)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(CourseError, match="cannot be used here"):
        train(network(), square, sine, config(device="tpu"))
