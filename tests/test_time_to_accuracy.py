"""The second ladder: each change does what its paper says, the clock stops where it says, and the command goes on where it was."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from course_utils.__main__ import main
from course_utils.measure.fidelity import Features
from course_utils.measure.timing import core_milliseconds
from course_utils.models.dit import DiT, DiTConfig, flow_loss
from course_utils.models.text_encoder import TextEncoderConfig
from course_utils.speed import caption_task, faster_training
from course_utils.speed import time_to_accuracy as ladder
from course_utils.training import TrainConfig
from course_utils.training.loop import make_optimiser


def network(depth: int = 4) -> DiT:
    """A small generator, none of whose weights is zero."""
    torch.manual_seed(0)
    text = TextEncoderConfig(vocabulary=20, longest=8, width=32, depth=1, heads=2)
    model = DiT(DiTConfig(width=32, depth=depth, heads=2, text=text))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return model


def batch(n: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"data": torch.randn(n, 8, 8, 8), "tokens": torch.randint(2, 20, (n, 6))}


def plan(**changes: object) -> TrainConfig:
    return TrainConfig(**{"images": 64, "batch_size": 32, "learning_rate": 0.01, "weight_decay": 0.0, **changes})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- the pieces


def test_with_the_courses_times_the_loss_is_the_courses() -> None:
    model, given = network(), batch()
    torch.manual_seed(2)
    theirs, _ = flow_loss(model, given)
    torch.manual_seed(2)
    assert torch.equal(faster_training.velocity_error(model, given, ladder.COURSE_TIMES), theirs)


def test_times() -> None:
    torch.manual_seed(0)
    t = faster_training.uniform(20_000, torch.device("cpu"))
    assert (t.mean() - 0.5).abs() < 0.01 and (t.var() - 1 / 12).abs() < 0.002
    t = faster_training.logit_normal(-0.8, 1.2)(20_000, torch.device("cpu"))
    assert (t.logit().mean() + 0.8).abs() < 0.03 and (t.logit().std() - 1.2).abs() < 0.03


def test_routing_none_is_the_plain_model_and_routing_half_halves_the_middle() -> None:
    model, given = network(), batch()
    x, t = given["data"], torch.tensor([0.1, 0.5, 0.9])
    plain = model(x, t, given["tokens"])
    with faster_training.routed(model.blocks, 0.0, 1, 2):
        torch.testing.assert_close(model(x, t, given["tokens"]), plain, atol=1e-5, rtol=1e-5)
    lengths: list[int] = []
    inside, outside = {}, {}
    hooks = [
        block.attention.register_forward_pre_hook(lambda _, a: lengths.append(a[0].shape[1])) for block in model.blocks
    ]  # type: ignore[union-attr]
    hooks += [model.blocks[0].register_forward_hook(lambda _, __, out: inside.update(h=out))]
    hooks += [model.blocks[3].register_forward_pre_hook(lambda _, a: outside.update(h=a[0]))]
    with faster_training.routed(model.blocks, 0.5, 1, 2):
        assert model(x, t, given["tokens"]).shape == plain.shape
    assert lengths == [16, 8, 8, 16]
    untouched = (inside["h"] == outside["h"]).all(2)
    assert untouched.sum(1).tolist() == [8, 8, 8] and len({tuple(row) for row in untouched.tolist()}) == 3
    for hook in hooks:
        hook.remove()
    assert torch.equal(model(x, t, given["tokens"]), plain), "nothing of it stays"


def test_routed_training_reaches_all_weights() -> None:
    model = network()
    with faster_training.routed(model.blocks, 0.5, 1, 2):
        faster_training.velocity_error(model, batch(), faster_training.uniform).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.blocks.parameters())


def test_alignment_is_zero_for_equal_directions_and_its_gradient_reaches_the_block() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 16, 5)
    assert abs(faster_training.alignment_loss(tokens, 3 * tokens)) < 1e-6
    assert abs(faster_training.alignment_loss(tokens, -tokens) - 2) < 1e-6
    model, given, project = network(), batch(), faster_training.projector(32, 5)
    with faster_training.listening(model.blocks[1]) as heard:
        faster_training.velocity_error(model, given, faster_training.uniform)
    faster_training.alignment_loss(project(heard[0]), torch.randn(3, 16, 5)).backward()
    moved = [any(p.grad is not None and bool(p.grad.any()) for p in block.parameters()) for block in model.blocks]
    assert moved == [True, True, False, False] and project[0].weight.grad is not None


def test_the_map_is_what_the_feature_network_makes_its_features_of() -> None:
    network, images = Features.load().network, torch.rand(2, 3, 32, 32)
    maps = faster_training.feature_map(network, images)
    assert maps.shape == (2, 16, network.config.channels[2])
    again = network.body[-2:](maps.transpose(1, 2).unflatten(2, (4, 4)))
    torch.testing.assert_close(again, network(images))


def test_muon_moves_a_matrix_by_a_nearly_orthogonal_one_and_every_weight_has_one_optimiser() -> None:
    model, config = network(), plan()
    optimiser = faster_training.muon(model, config)
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    weight = model.blocks[1].mlp[0].weight  # type: ignore[union-attr, index]
    before = weight.detach().clone()
    faster_training.velocity_error(model, batch(), faster_training.uniform).backward()
    spread = torch.linalg.svdvals(weight.grad)
    for group in optimiser.param_groups:  # as `train` does
        group["lr"] = 0.005
    optimiser.step()
    scale = 0.005 * 0.2 * math.sqrt(max(weight.shape))
    values = torch.linalg.svdvals((weight - before) / scale)
    assert spread.max() > 20 * spread.min(), "the gradient itself is far from orthogonal"
    assert values.min() > 0.6 and values.max() < 1.3
    other = network()
    again = faster_training.muon(other, config)
    again.load_state_dict(optimiser.state_dict())
    assert len(again.state_dict()["parts"][0]["state"]) == len(optimiser.parts[0].state_dict()["state"]) > 0


def test_bf16_storage_swallows_small_steps_and_fp32_does_not() -> None:
    moved = {}
    for name, make in (("fp32", make_optimiser), ("bf16", faster_training.stored_in_bf16)):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        optimiser = make(layer, plan(learning_rate=1e-3))
        for _ in range(20):  # 2^-8 = 0.0039 is the gap below 1, and a step is 0.001
            optimiser.zero_grad()
            layer(torch.ones(1, 1)).sum().backward()
            optimiser.step()
        moved[name] = 1 - layer.weight.item()
        assert name == "fp32" or torch.equal(layer.weight.data, layer.weight.data.bfloat16().float())
    assert moved["bf16"] == 0 and abs(moved["fp32"] - 0.02) < 1e-3


# ----------------------------------------------------------------------------------------------------- the clock


def test_a_core_that_waits_costs_nothing() -> None:
    busy = core_milliseconds(lambda: sum(i * i for i in range(300_000)))
    assert core_milliseconds(lambda: time.sleep(0.3)) < 100 and busy > 5


@pytest.mark.parametrize(
    ("curve", "images"),
    [
        ([(100, 0.2), (200, 0.6), (300, 0.7)], 175.0),
        ([(100, 0.6), (200, 0.4), (300, 0.8), (400, 0.5)], 225.0),  # the first exam was luck
        ([(100, 0.5), (200, 0.5)], 100.0),
        ([(100, 0.2), (200, 0.9)], None),  # nobody knows yet whether it stays
        ([(100, 0.6), (200, 0.4), (300, 0.6)], None),
        ([], None),
    ],
)
def test_the_clock_stops_at_the_first_of_two_exams_running(curve: ladder.Curve, images: float | None) -> None:
    assert ladder.images_to(curve, 0.5) == pytest.approx(images) if images else ladder.images_to(curve, 0.5) is None


def test_the_factor_is_paired_by_seed() -> None:
    start, other = {0: 1000.0, 1: 4000.0, 2: 2000.0}, {0: 500.0, 1: 2000.0, 2: 1000.0, 7: 1.0}
    value, interval = ladder.factor(start, other, cost=1.25)
    assert value == pytest.approx(2 / 1.25) and interval == pytest.approx((1.6, 1.6))
    value, interval = ladder.factor(start, {0: 500.0, 1: 4000.0}, cost=1.0)
    half = 12.706 * math.log(2) / math.sqrt(2) / math.sqrt(2)  # standard deviation of two values: their distance / √2
    assert value == pytest.approx(math.sqrt(2))
    assert interval == pytest.approx((math.exp(math.log(2) / 2 - half), math.exp(math.log(2) / 2 + half)))
    assert ladder.factor(start, {1: 1000.0}, cost=1.0) == (pytest.approx(4.0), None)


def test_losers_and_gaps_stay_in_the_table() -> None:
    def one(rung: str, seed: int, images: float | None) -> dict:
        return {"rung": rung, "seed": seed, "images": images, "curve": [(5000, 0.4)], "sure": [0.1]}

    runs = [one("start", 0, 1000.0), one("start", 1, 2000.0), one("REPA", 0, 500.0), one("REPA", 1, 1000.0)]
    runs += [one("Muon", 0, None), one("Muon", 1, 900.0), one("uniform times", 0, 4000.0)]
    price = {
        name: {"seconds": 0.01, "cost": 1.0, "interval": [0.9, 1.1]} for name in ("start", "REPA", "Muon", "TREAD")
    }
    price["compile"] = {"seconds": 0.005, "cost": 0.5, "interval": [0.4, 0.6], "compile_seconds": 7.0}
    price["products in bf16"] = {"reason": "RuntimeError: no"}
    rows = {row["rung"]: row for row in ladder.rows_of(ladder.RUNGS, runs, price)}
    assert rows["REPA"]["factor"] == pytest.approx(2.0) and rows["start"]["factor"] is None
    assert rows["Muon"]["factor"] is None and "1 of 2 did not reach" in rows["Muon"]["reason"]
    assert rows["TREAD"]["reason"] == "not run yet"
    assert rows["uniform times"]["factor"] == pytest.approx(0.25), "an image costs what it costs at the start"
    same = [rung.name for rung in ladder.RUNGS if rung.same_price]
    assert same == ["start", "uniform times", "centred times", "no average", "twice the learning rate"]
    middle = math.sqrt(1000 * 2000)
    assert rows["compile"]["minutes"] == pytest.approx((middle * 0.005 + 7) / 60)
    assert rows["compile"]["factor"] == pytest.approx(rows["start"]["minutes"] / rows["compile"]["minutes"])
    assert rows["products in bf16"]["reason"] == "RuntimeError: no"
    table = ladder.markdown(list(rows.values()))
    assert table.count("\n| ") == len(ladder.RUNGS) + 1 and "- TREAD: not run yet" in table


# ---------------------------------------------------------------------------------------------------- the command


def test_the_command_runs_writes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    small = dataclasses.replace(
        caption_task.TASKS["circles"], pictures=1, width=64, depth=4, prompts=4, every=32, steps=2, target=0.5
    )
    monkeypatch.setattr(
        caption_task.Course, "accuracy", lambda *_: (0.75, 0.25)
    )  # of 0.5: reached at two thirds of the way
    monkeypatch.setitem(caption_task.TASKS, "circles", small)
    options = ["--most", "96", "--rounds", "1", "--timed", "32", "--device", "cpu", "--out", str(tmp_path / "out")]
    rungs = ["--rungs", "REPA", "Muon", "short captions", "data made in each step"]
    command = ["race", *options, "--json", *rungs]
    assert main([*command, "--seeds", "1", "--minutes", "0"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert [row["images"] for row in rows] == [[]] * 5 and all(row["seconds_per_image"] > 0 for row in rows)
    assert main([*command, "--seeds", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "out" / "time-to-accuracy-cpu.json").read_text())
    assert len(result["rows"]) == 5 and all(row["images"] == [21.33] for row in result["rows"])
    assert {"judge", "flow-shapes", "features"} <= set(result["measured"]["weights"])
    log = next((tmp_path / "home" / "runs").iterdir()) / "runs.jsonl"
    first = log.read_text()
    assert main([*command, "--seeds", "2"]) == 0
    assert log.read_text().startswith(first), "what was there is not run again"
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert all(row["seeds"] == [0, 1] for row in rows)


def test_a_slip_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path)]
    for options in (["--task", "none"], ["--rungs", "Repa"], ["--seeds", "0"]):
        assert main(["race", *out, *options]) == 2
        assert "choose from" in (said := capsys.readouterr().err) or "at least 1" in said
