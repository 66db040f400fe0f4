"""Two processes that train together: the loss curve and the weights of one, whatever the batch and the noise are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch

from course_utils.common import CourseError
from course_utils.training import checkpoints, distributed, train
from course_utils.weights import load_weights

ROOT = Path(__file__).resolve().parent.parent
# Sums of the same numbers in another order differ in the last digit of float32, and 50 steps of Adam enlarge that.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous and signals as on Unix")


def torchrun(*words: object, processes: int = 2) -> subprocess.CompletedProcess:
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *start, *map(str, words)], env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the two ranks of tests/ranks.py found, and the folder of their runs."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(ROOT / "tests" / "ranks.py", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]
    return {"folder": folder, "ranks": found}


def one(batches, loss, **changes):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = ranks.network(dropout=0.1 if loss is ranks.noisy_square else 0)
    result = train(model, loss, batches, ranks.config(**changes))
    torch.set_num_threads(threads)
    return result


def close(found: dict[str, Any], expected) -> None:
    curve = [[line["images"], line["loss"], line["gradient_norm"]] for line in found["history"]]
    torch.testing.assert_close(
        torch.tensor(curve),
        torch.tensor([[line["images"], line["loss"], line["gradient_norm"]] for line in expected.history]),
        **TOLERANCE,
    )
    for which, model in (("model", expected.model), ("ema", expected.ema_model)):
        for name, value in model.state_dict().items():
            torch.testing.assert_close(found[which][name], value, **TOLERANCE)


def test_two_ranks_give_the_loss_curve_of_one_process_with_the_same_batch(two):
    alone = one(ranks.exact, ranks.square)
    assert alone.history[-1]["loss"] < 0.25 * alone.history[0]["loss"]  # a curve that goes somewhere
    for rank in two["ranks"]:
        close(rank["whole"], alone)
        close(rank["ahead"], alone)
        assert rank["whole"]["history"][-1]["rows"] == 16  # each had half of the batch at a time


def test_noise_and_chosen_pictures_are_those_of_one_process_in_as_many_parts(two):
    alone = one(ranks.chosen, ranks.noisy_square, accumulate=4)
    for rank in two["ranks"]:
        close(rank["parts"], alone)
    other = one(ranks.chosen, ranks.noisy_square, accumulate=2)  # the test would see other noise
    assert abs(other.history[3]["loss"] / alone.history[3]["loss"] - 1) > 0.01


def test_the_ranks_hold_the_same_weights_to_the_bit(two):
    first, second = two["ranks"]
    for run in ("whole", "ahead", "parts"):
        for which in ("model", "ema"):
            assert all(torch.equal(value, second[run][which][key]) for key, value in first[run][which].items())


def test_rank_0_alone_logs_and_measures_and_saves(two):
    first, second = two["ranks"]
    assert len(first["called"]) == 10 and second["called"] == []
    log = (two["folder"] / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in log] == list(range(160, 1601, 160))


def test_a_signal_to_one_stops_both_and_one_process_goes_on(two):
    """It is saved where both were, and one process that computes as many parts ends as if nothing had happened."""
    saids = [rank["said"] for rank in two["ranks"]]
    assert "Stopped by another rank after 832 images" in saids[0] and "Stopped by SIGTERM after 832" in saids[1]
    folder = two["folder"] / "stopped"
    assert checkpoints.newest(folder)["progress"]["images"] == 832
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.raises(CourseError, match="accumulate = 4, and now it is 2"):
        train(ranks.network(), ranks.noisy_square, ranks.chosen, ranks.config(accumulate=2), folder=folder)
    done = train(ranks.network(), ranks.noisy_square, ranks.chosen, ranks.config(accumulate=4), folder=folder)
    torch.set_num_threads(threads)
    close(two["ranks"][0]["parts"], done)


def test_a_batch_that_cannot_be_shared_is_refused(two):
    for rank in two["ranks"]:
        assert "A batch of 33 cannot be shared evenly by 2 processes" in rank["refused"]


def test_alone_all_of_it_does_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.together("cpu"):
        values = [torch.tensor([1.0, 2.0])]
        distributed.average(values)
        distributed.wait_for_all()
        assert (distributed.ranks(), distributed.rank(), distributed.of_first(2.5)) == (1, 0, 2.5)
        assert values[0].tolist() == [1, 2] and distributed.any_rank(True) and not distributed.any_rank(False)


def test_the_command_is_the_same_on_two(tmp_path, monkeypatch):
    """`torchrun -m -- course_utils train …` writes what one process writes that computes the batch in two parts."""
    monkeypatch.setenv("COURSE_PROFILE", "ci")
    words = ["course_utils", "train", "flow", "--world", "digits", "--space", "pixels", "--images", "96"]
    words += ["--pictures", "40", "--precision", "fp32", "--device", "cpu", "--watch", "2", "--run", "mine"]
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "two"))
    done = torchrun("-m", "--", *words)  # without "--" torchrun takes --run for an option of its own
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("wrote ") == 1
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "one"))
    alone = [sys.executable, "-m", *words, "--accumulate", "2"]
    subprocess.run(alone, cwd=ROOT, check=True, capture_output=True, timeout=300)
    one, two = (load_weights(tmp_path / name / "weights" / "flow-digits-pixels") for name in ("one", "two"))
    assert two.card["images_seen"] == 96 and two.card["loss"][-1]["loss"] == pytest.approx(
        one.card["loss"][-1]["loss"], rel=1e-4
    )
    for key, value in one.state.items():
        torch.testing.assert_close(two.state[key], value, rtol=1e-2, atol=1e-3)  # stored in bfloat16
    runs = [tmp_path / name / "runs" / "mine" for name in ("one", "two")]
    logs = [(run / "log.jsonl").read_text().splitlines() for run in runs]
    assert len(logs[0]) == len(logs[1]) and len(list((runs[1] / "sheets").glob("*.png"))) == 1
