"""Timers, counters, ceilings, and the speed ladder: rungs draw what the plain generator draws, at the cost that is counted."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small import dit, features_weights, flow_weights, judge_weights, student_weights
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_utils import show
from course_utils.__main__ import main
from course_utils.commands import bench
from course_utils.common import ROOT, CourseError
from course_utils.generators import load
from course_utils.measure.ceilings import ceilings, gemm, roof
from course_utils.measure.costs import Costs, Traffic, count, operations_by_layer
from course_utils.measure.fidelity import Features
from course_utils.measure.judge import Judge
from course_utils.measure.kept import Kept
from course_utils.measure.paired import Readers, asked_of
from course_utils.measure.timing import interleaved, milliseconds, ratio, spread
from course_utils.models.layers import Attention
from course_utils.speed import ladder as ladder_file
from course_utils.speed.ladder import (
    FIELDS,
    check_equal,
    climb,
    emulated,
    equal_steps,
    extrapolate,
    prepare,
    prepare_all,
)
from course_utils.speed.quality import fewest_steps
from course_utils.speed.rungs import CHANGES, FUSED, Replayed, Rung, change, flow_ladder, guidance_interval, threads
from course_utils.speed.table import markdown

MACHINE: dict[str, Any] = {"gemm": {"fp32": 1e10, "bf16": 1e10}, "bandwidth": 1e9, "overhead": 1e-6, "size": 8}
MACHINE["all threads"] = dict(MACHINE)
PROMPTS = ["a red circle", "三个蓝色的方块", "a small green star above a large yellow heart"]


@pytest.fixture
def generator(tmp_path: Path):
    return load(flow_weights(tmp_path / "flow"), "cpu")


# --------------------------------------------------------------------------------------------------------- timing


def test_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_a_sleep_takes_its_time() -> None:
    assert 20 <= milliseconds(lambda: time.sleep(0.02)) < 2000


def test_rounds_are_interleaved_and_turned_around() -> None:
    order: list[str] = []
    found = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, rounds=3, warmup=2)
    assert "".join(order) == "aabb" + "ab" + "ba" + "ab"
    assert [len(times) for times in found.values()] == [3, 3]


def test_a_ratio_is_taken_round_by_round() -> None:
    factor, low, high = ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0])  # the machine got slower, for both
    assert (factor, low, high) == (2.0, 2.0, 2.0)
    factor, low, high = ratio([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0])
    assert factor == 2.5 and low < 2.5 < high


# --------------------------------------------------------------------------------------------------------- counting


def test_operations_counted_by_hand_are_those_of_the_tool() -> None:
    b, n, d, t, c = 3, 16, 24, 7, 20
    layer = Attention(d, 2, c).eval()
    x, context = torch.randn(b, n, d), torch.randn(b, t, c)
    by_hand = 2 * b * (n * d * d + t * c * 2 * d + n * t * d + n * t * d + n * d * d)  # q, kv, scores, values, out
    mask = torch.ones(b, t, dtype=torch.bool)
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel([backend, SDPBackend.MATH]):
            assert count(lambda: layer(x, context, mask)).operations == by_hand
    conv = nn.Conv2d(5, 6, 3, padding=1, stride=2)
    both = count(lambda: layer(conv(torch.zeros(3, 5, 8, 8)).flatten(2).repeat(1, 1, 2)[..., :d], context, mask))
    assert both.convolutions == 2 * 3 * 6 * 5 * 9 * 4 * 4 < both.operations
    assert count(lambda: conv(torch.zeros(2, 5, 8, 8))).operations == 2 * 2 * 6 * 5 * 9 * 4 * 4


def test_the_tool_alone_misses_fused_attention_on_a_cpu() -> None:
    """Why `costs` gives it a formula; where PyTorch learns it, this test fails, and the formula can go."""
    q = torch.randn(1, 2, 16, 8)
    with torch.no_grad(), FlopCounterMode(display=False) as plain:
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert plain.get_total_flops() == 0
    ours = count(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    assert ours.operations == 2 * 2 * 2 * 16 * 16 * 8


def test_a_models_layers_add_up() -> None:
    model = dit()
    x, t, tokens = torch.randn(2, 3, 8, 8), torch.rand(2), torch.ones(2, 5, dtype=torch.long)
    layers = operations_by_layer(model, lambda: model(x, t, tokens))
    assert layers[""] == count(lambda: model(x, t, tokens)).operations > 0
    config = model.config
    assert layers["blocks.0.mlp"] == 2 * 2 * config.patches * 8 * config.width**2
    leaves = (
        "patch_in",
        "time",
        "pooled",
        "modulation",
        "modulation_out",
        "patch_out",
        "text.blocks.0.mlp",
        "text.blocks.0.attention",
    )
    inside = [f"blocks.{i}.{part}" for i in range(config.depth) for part in ("attention", "cross", "mlp")]
    assert sum(layers[name] for name in (*leaves, *inside)) == layers[""]


def test_bytes_and_kernels() -> None:
    a, b = torch.zeros(4, 8), torch.zeros(8)
    found = count(lambda: a.t().contiguous() + b[:4])
    assert found.kernels == 2 and found.bytes == 4 * (32 + 32) + 4 * (32 + 4 + 32)
    assert count(lambda: a.view(8, 4).transpose(0, 1)[0]) == Costs(0, 0, 0, 0)
    assert count(lambda: a + torch.zeros(1, 1).expand(4, 8)).bytes == 4 + 4 * (32 + 1 + 32)
    table, rows = nn.Embedding(1000, 4), torch.tensor([1, 2])
    assert count(lambda: table(rows)).bytes == 2 * 8 + 2 * 4 * 2 * 4


def test_the_peak_is_what_is_alive_at_once() -> None:
    def hold_and_drop() -> None:
        a = torch.empty(1000)
        del a
        b = torch.empty(2000)
        b.add_(1)
        c = b.view(2, 1000) * 2
        del b, c

    assert count(hold_and_drop).peak == 4 * 4000
    with Traffic() as traffic:
        for _ in range(3):
            torch.empty(500)
    assert (traffic.peak, traffic.alive) == (2000, 0)


def test_costs_of_a_batch_lie_on_a_line() -> None:
    layer = nn.Linear(7, 5)
    one, two, five = (count(lambda n=n: layer(torch.zeros(n, 7))) for n in (1, 2, 5))
    assert extrapolate(one, two, 5) == five


# --------------------------------------------------------------------------------------------------------- ceilings


def test_ceilings_have_what_the_roof_needs() -> None:
    found = ceilings("cpu", rounds=1, size=64)
    assert set(found) == {"size", "gemm", "bandwidth", "overhead"} and set(found["gemm"]) == {"fp32", "bf16"}
    assert all(value > 0 for value in (*found["gemm"].values(), found["bandwidth"], found["overhead"]))
    assert gemm(64, "fp32", rounds=1) > 0


def test_the_roof_is_the_longer_of_both() -> None:
    assert roof(Costs(10**10, 1, 1, 1), MACHINE) == pytest.approx(1000)
    assert roof(Costs(1, 10**9, 1, 1), MACHINE) == pytest.approx(1000)
    assert Costs(10, 5, 1, 1).intensity == 2


# --------------------------------------------------------------------------------------------------------- the rungs


def changed(generator: Any, name: str) -> Any:
    return CHANGES[name](copy.deepcopy(generator))


@pytest.mark.parametrize("name", ["plain attention", "two passes", "channels last", "all threads"])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 3.0])
def test_a_faster_rung_draws_the_same_pictures(generator, name: str, guidance: float) -> None:
    plain = generator(PROMPTS, steps=3, guidance=guidance).images
    again = changed(generator, name)(PROMPTS, steps=3, guidance=guidance).images
    assert float((again - plain).abs().max()) <= 1 / 255
    assert plain.std() > 0.05


@pytest.mark.parametrize("name", ["bf16 autocast", "bf16 weights"])
def test_bf16_is_near_and_not_equal(generator, name: str) -> None:
    plain = generator(PROMPTS, steps=2).images
    difference = (changed(generator, name)(PROMPTS, steps=2).images - plain).abs()
    assert 1e-4 < float(difference.max()) <= 0.5 and float(difference.mean()) < 0.05


def test_compiled_pictures_are_the_same(generator) -> None:
    """The compiler's front, with a back that calls the plain operators: what it makes of the model, without a C++ compiler."""
    plain = generator(PROMPTS[:1], steps=2).images
    compiled = CHANGES["compile"](copy.deepcopy(generator), backend="aot_eager")  # type: ignore[call-arg]
    assert float((compiled(PROMPTS[:1], steps=2).images - plain).abs().max()) <= 1 / 255


def test_blocks_are_compiled_one_by_one(generator) -> None:
    plain = generator(PROMPTS[:1], steps=2).images
    programs = []

    def counting(graph, inputs):
        programs.append(graph)
        return graph.forward

    compiled = CHANGES["compile blocks"](copy.deepcopy(generator), backend=counting)  # type: ignore[call-arg]
    assert float((compiled(PROMPTS[:1], steps=2).images - plain).abs().max()) <= 1 / 255
    blocks = [b for stack in generator.model.children() if isinstance(stack, nn.ModuleList) for b in stack]
    assert 0 < len(programs) <= len(blocks) and not any("embedding" in graph.code for graph in programs)


COMPILERS = [name for name in ("g++", "clang++", "cl") if shutil.which(name)]


@pytest.mark.skipif(not COMPILERS, reason="no C++ compiler here")
def test_a_program_that_a_compiler_has_written_computes_the_same() -> None:
    """Inductor for real, on one small block: norm, modulation, GELU and products, at fp32's rounding."""
    torch.manual_seed(0)
    norm, mlp = nn.LayerNorm(16), nn.Sequential(nn.Linear(16, 32), nn.GELU("tanh"), nn.Linear(32, 16))
    block = lambda x, scale, shift: x + mlp(norm(x) * (1 + scale) + shift)  # noqa: E731
    given = [torch.randn(3, 5, 16), torch.randn(3, 1, 16), torch.randn(3, 1, 16)]
    fast = torch.compile(block, fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(fast(*given), block(*given), atol=1e-5)
        assert not torch.allclose(fast(*given), given[0], atol=1e-2)


def test_threads_are_set_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="x"), threads(2):
        assert torch.get_num_threads() == 2
        raise ValueError("x")
    assert torch.get_num_threads() == before


def test_a_change_leaves_the_first_generator_alone(generator) -> None:
    plain = generator(PROMPTS, steps=2).images
    for name in ("plain attention", "two passes", "bf16 weights", "guidance interval"):
        changed(generator, name)
    assert torch.equal(generator(PROMPTS, steps=2).images, plain)


def test_cuda_graphs_say_what_they_need(generator) -> None:
    for name in ("cuda graph", "compile, cuda graphs"):
        with pytest.raises(CourseError, match="CUDA"):
            changed(generator, name)


def test_replaying_gives_new_numbers_in_the_same_memory(generator) -> None:
    """The bookkeeping of CUDA graphs, with a recording that runs the function again on its own memory."""
    recorded = []

    def record(run):
        out = run().clone()
        recorded.append(1)
        return lambda: out.copy_(run()), out

    plain = generator(PROMPTS, steps=3)
    other = generator(PROMPTS[::-1], steps=3, seed=5)
    replayed = copy.deepcopy(generator)
    replayed.model = Replayed(replayed.model, record)
    assert torch.allclose(replayed(PROMPTS, steps=3).images, plain.images, atol=1e-5)
    assert torch.allclose(replayed(PROMPTS[::-1], steps=3, seed=5).images, other.images, atol=1e-5)
    assert len(recorded) == 1
    replayed(PROMPTS[:1], steps=1)
    assert len(recorded) == 2  # another shape


def test_guidance_in_an_interval_is_guidance_there_and_none_elsewhere(generator) -> None:
    narrow = guidance_interval(copy.deepcopy(generator))
    asked: list[tuple[float, float]] = []

    def guided(model, tokens, empty, guidance):
        return lambda x, t: asked.append((float(t[0]), guidance)) or torch.zeros_like(x)

    narrow.guided = guided
    drawn = narrow(PROMPTS, steps=4, guidance=3.0)
    assert asked == [(0.0, 1.0), (0.25, 3.0), (0.5, 3.0), (0.75, 1.0)]
    assert drawn.evaluations == 1 + 2 + 2 + 1


def test_every_change_of_the_ladders_is_known_and_every_skip_has_its_control() -> None:
    for device in ("cpu", "cuda"):
        rungs = flow_ladder(8, device)
        names = [rung.name for rung in rungs]
        assert len(set(names)) == len(names)
        assert {name for rung in rungs for name in rung.changes} <= set(CHANGES) and set(FUSED) <= set(CHANGES)
        assert {rung.equals for rung in rungs} <= {"", *names}
        other = {
            rung.name
            for rung in rungs
            if not rung.equals and not rung.start and rung.changes and rung.name != "fewer steps"
        } - {"Adams-Bashforth", "DPM-Solver++(2M)"}  # they cost what the fair start costs, which is their control
        assert {rung.control for rung in rungs} - {""} == other == {"guidance interval", "reuse between steps"}
        assert [rung.name for rung in rungs if rung.start] == ["naive start", "fair start"]


# --------------------------------------------------------------------------------------------------------- the ladder


def test_what_a_rung_costs_is_counted_and_not_written_down(generator) -> None:
    fair, naive = (
        prepare(generator, rung) for rung in (Rung("fair", (), 2), Rung("naive", ("two passes", "plain attention"), 5))
    )
    assert (fair.evaluations, naive.evaluations) == (4, 10)
    assert fair.costs is not None and naive.costs is not None
    step = (naive.costs(1).operations - prepare(generator, Rung("", ("two passes",), 4)).costs(1).operations) / 2  # type: ignore[misc]
    x, tokens = torch.zeros(1, 3, 8, 8), generator.tokenizer.batch([ladder_file.TIMED], 64)
    text = generator.model.text(tokens)
    alone = count(lambda: generator.model(x, torch.zeros(1), text=text)).operations
    empty = generator.model.text(generator.tokenizer.batch([""], 1))
    without = count(lambda: generator.model(x, torch.zeros(1), text=empty)).operations
    assert step == (alone + without) / 2
    half = prepare(generator, Rung("half", ("guidance interval",), 8))
    assert (
        half.evaluations == 8 + 4 and half.costs(1).operations < prepare(generator, Rung("", (), 8)).costs(1).operations
    )  # type: ignore[misc]


def test_equal_steps_favour_the_control() -> None:
    assert [equal_steps(*given) for given in ((12, 8), (11, 8), (3, 2), (0, 4), (90, 8))] == [6, 6, 2, 1, 8]


def test_a_rung_that_fails_keeps_its_place_and_says_why(generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(generator):
        raise RuntimeError("no such\n kernel")

    monkeypatch.setitem(CHANGES, "channels last", broken)
    found = {
        one.rung.name: one
        for one in prepare_all(
            generator, flow_ladder(2, naive=3), skip={"compile": bench.LEFT_OUT, "compile blocks": bench.LEFT_OUT}
        )
    }
    assert found["channels last"].reason == "RuntimeError: no such kernel"
    assert found["compile"].reason == "It was left out of this run."
    assert found["fair start"].reason is None


def test_a_rung_that_draws_something_else_fails(generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(generator):
        draw = generator.draw
        generator.draw = lambda *args: (draw(*args)[0] + 0.02, 0)
        return generator

    monkeypatch.setitem(CHANGES, "channels last", wrong)
    found = prepare_all(generator, flow_ladder(2, naive=3)[:5])
    check_equal(found)
    assert "A pixel differs by 0.02 from “fair start”" in (found[-1].reason or "")
    assert [one.reason for one in found[:-1]] == [None] * 4


def test_emulated_bf16_is_not_waited_for() -> None:
    found = emulated({**MACHINE, "gemm": {"fp32": 4e10, "bf16": 4e8}})
    assert set(found) == {"bf16 autocast", "bf16 weights"}
    assert "0.4 billion operations a second in products of matrices, and 40 in fp32" in found["bf16 weights"]
    assert emulated(MACHINE) == {}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A whole ladder of a tiny generator."""
    tmp_path = tmp_path_factory.mktemp("ladder")
    generator = load(flow_weights(tmp_path / "flow"), "cpu")
    judge, features = (
        Judge.load(judge_weights(tmp_path / "judge")),
        Features.load(features_weights(tmp_path / "features")),
    )  # type: ignore[arg-type]
    asked = asked_of(features, 6, 2, copies=2)
    readers = Readers(judge, features, None, 0)
    return climb(
        generator,
        flow_ladder(2, naive=4),
        MACHINE,
        "flow",
        batches=(1, 3),
        rounds=2,
        readers=readers,
        asked=asked,
        skip={"compile": bench.LEFT_OUT, "compile blocks": bench.LEFT_OUT},
    )


def test_rows_have_the_stated_fields(rows: list[dict[str, Any]]) -> None:
    by_name = {row["rung"]: row for row in rows}
    for row in rows:
        assert set(FIELDS) <= set(row) and row["family"] == "flow"
        if row["reason"] is None:
            assert row["factor"] == pytest.approx(row["fewer_operations"] * row["faster_operations"])
            for name in ("accuracy", "fidelity", "diversity"):
                low, high = row["intervals"][name]
                assert low <= high and row[name] is not None
                assert len(row["intervals"][f"{name}_difference"]) == 3
            assert row["images_per_second"] == pytest.approx(1000 / min(one["ms"] for one in row["sweep"].values()))
            assert all(one["overhead"] < 1 and one["utilisation"] > 0 for one in row["sweep"].values())
        else:
            measured = [
                name
                for name in FIELDS
                if name not in ("family", "rung", "start", "reason", "intervals", "evaluations", "gflop")
            ]
            assert all(row[name] is None for name in measured)
    naive, fair = by_name["naive start"], by_name["fair start"]
    assert (naive["start"], fair["start"], naive["factor"]) == (True, True, 1.0)
    assert naive["intervals"]["accuracy_difference"] == (0.0, 0.0, 0.0)
    assert (naive["evaluations"], fair["evaluations"]) == (8, 4)
    assert fair["fewer_operations"] == pytest.approx(naive["gflop"] / fair["gflop"])
    assert by_name["compile"]["reason"] == by_name["together"]["reason"] == "It was left out of this run."
    assert by_name["control: fewer steps"]["evaluations"] >= by_name["guidance interval"]["evaluations"]
    assert fair["peak_mb"] > 0 and json.loads(json.dumps(bench.rounded(rows)))


def test_table_and_figure_come_from_the_rows(rows: list[dict[str, Any]]) -> None:
    text = markdown(rows)
    assert text.count("\n| ") == len(rows) + 1 - 0 and "**naive start**" in text
    fair = next(row for row in rows if row["rung"] == "fair start")
    assert f"{fair['ms_batch1']:.0f} [" in text and "- compile: It was left out of this run." in text
    assert "None" not in text and "nan" not in text
    figure = show.ladder(rows)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{row['rung']}, {row['steps']}" for row in rows]
    assert len(figure.axes[0].patches) == sum(row["reason"] is None for row in rows)
    # the title praises nobody who draws other pictures than the fair start
    praised = [row for row in rows if f"“{row['rung']}”" in figure.get_suptitle()]
    assert [row["quality_of"] or row["rung"] for row in praised] == [fair["quality_of"] or fair["rung"]]
    with pytest.raises(CourseError, match="No rung"):
        show.ladder([row for row in rows if row["reason"]])
    frontier = show.frontier(rows)
    legend = [text.get_text() for text in frontier.legends[0].get_texts()]
    assert {"naive start, 4", "fair start, 2", "guidance interval, 2"} <= set(legend)
    short = [row["rung"].replace("student ", "").replace(": fewer steps", "") for row in rows]
    listed = [row for row, name in zip(rows, short, strict=True) if f"{name}, {row['steps']}" in legend]
    pictures = [row["quality_of"] or row["rung"] for row in listed]
    assert set(pictures) == {row["quality_of"] or row["rung"] for row in rows if row["accuracy"] is not None}
    for axes, name in zip(frontier.axes, ("accuracy", "fidelity"), strict=True):
        shown = {round(float(line.get_ydata()[0]), 6) for line in axes.lines if len(line.get_ydata()) == 1}
        assert shown <= {round(row[name], 6) for row in rows if row[name] is not None}
    with pytest.raises(CourseError, match="a time and an accuracy"):
        show.frontier([{**row, "accuracy": None} for row in rows])


def test_the_roofline_shows_every_point() -> None:
    figure = show.roofline(MACHINE, {"a": (0.5, 1e8), "b": (50.0, 5e9)}, title="b is faster")
    (axes,) = figure.axes
    x, y = axes.lines[0].get_data()
    assert max(y) == pytest.approx(10) and y[0] == pytest.approx(x[0])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["the roof", "a", "b"]
    with pytest.raises(CourseError, match="no points"):
        show.roofline(MACHINE, {}, title="")


class Scripted:
    """A generator and a judge in one: of each number of steps a share of pictures is right."""

    def __init__(self, shares: dict[int, float]):
        self.shares = shares

    def __call__(self, prompts, *, steps, batch_size):
        n = len(prompts)
        return type("Pictures", (), {"images": torch.tensor([i < self.shares[steps] * n for i in range(n)])})

    def read(self, images):
        return [type("Reading", (), {"shows": lambda self, asked, right=bool(right): right})() for right in images]


def test_the_fair_start_is_the_last_before_the_first_that_is_worse() -> None:
    shares = {50: 0.5, 25: 0.5, 16: 0.5, 12: 0.49, 8: 0.45, 6: 0.5, 4: 0.3, 3: 0, 2: 0, 1: 0}
    one = Scripted(shares)
    steps, tried = fewest_steps(one, one, 102)  # type: ignore[arg-type]
    assert steps == 12 and list(tried) == [50, 25, 16, 12, 8]
    two_fewer = Scripted({**shares, 25: 49 / 102, 16: 48 / 102})  # of 102 prompts a point is two, rounded up
    assert fewest_steps(two_fewer, two_fewer, 102)[0] == 25  # type: ignore[arg-type]
    assert fewest_steps(Scripted({**shares, 25: 0.2}), Scripted(shares), 102)[0] == 50  # type: ignore[arg-type]
    nothing = Scripted({**shares, 16: 0.2})
    assert fewest_steps(nothing, nothing, 102)[0] == 25  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------------------- the command


def test_quick_checks_the_shipped_generator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--device", "cpu", "--json"]) == 0
    rows = {row["rung"]: row for row in json.loads(capsys.readouterr().out.splitlines()[-1])}
    naive, fair = rows["naive start"], rows["fair start"]
    assert (naive["evaluations"], fair["evaluations"]) == (8, 4)
    assert (
        rows["fewer steps"]["gflop"] == rows["+ fused attention"]["gflop"] < fair["gflop"]
    )  # the empty caption is padded
    assert fair["bytes"] < rows["+ fused attention"]["bytes"] < rows["fewer steps"]["bytes"]
    for name in ("+ fused attention", "fair start", "channels last", "all threads"):
        assert rows[name]["largest_difference"] <= 1 / 255


def test_quick_fails_where_pictures_differ(home_of_tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def wrong(generator):
        generator.guided = lambda *given: lambda x, t: torch.zeros_like(x)
        return generator

    monkeypatch.setitem(CHANGES, "channels last", wrong)
    assert main(["bench", str(home_of_tiny), "--quick", "--device", "cpu"]) == 1
    assert "channels last: 0 evaluations, A pixel differs" in capsys.readouterr().out


@pytest.fixture
def home_of_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny weights of a generator; judge and features, as tiny, where they are found by their names."""
    monkeypatch.setattr("course_utils.weights.DATA", tmp_path / "data")
    judge_weights(tmp_path / "data" / "weights" / "judge")
    features_weights(tmp_path / "data" / "weights" / "features")
    return flow_weights(tmp_path / "tiny")


def test_a_student_has_a_rung_its_control_and_one_together(tmp_path: Path) -> None:
    teacher = flow_weights(tmp_path / "tiny")
    pupil = student_weights(teacher, tmp_path / "pupil")
    alone, control, together = flow_ladder(3, students=[str(pupil)])[-3:]
    assert (alone.name, alone.steps, control.control) == ("student pupil", 2, "student pupil")
    assert together.equals == "student pupil" and "compile" in together.changes
    found = prepare_all(load(teacher, "cpu"), [alone, control, together])
    assert [one.reason for one in found] == [None] * 3
    assert [one.evaluations for one in found] == [2, 2, 2]  # two jumps cost one guided step


def test_a_rung_takes_no_student_of_others(tmp_path: Path) -> None:
    teacher = flow_weights(tmp_path / "tiny")
    pupil = student_weights(teacher, tmp_path / "pupil")
    other = load(teacher, "cpu")
    assert change(f"student: {pupil}")(other)(PROMPTS).evaluations == 2
    other.card = {**other.card, "sha256": "another"}
    with pytest.raises(CourseError, match="is no student of this generator"):
        change(f"student: {pupil}")(other)
    with pytest.raises(CourseError, match="is no student of this generator"):
        change(f"student: {teacher}")(other)


def test_bench_writes_rows_and_ceilings(home_of_tiny: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(bench, "limits", lambda *_: MACHINE)
    monkeypatch.setattr(ladder_file, "BATCHES", {"cpu": (1, 2)})
    monkeypatch.setattr("course_utils.speed.quality.STEPS", (1, 2))

    def small(fair: int, device: str, students: Sequence[str] = ()) -> list[Rung]:
        rungs = flow_ladder(fair, device, naive=3, students=students)
        return [rung for rung in rungs if not any("compile" in name for name in rung.changes)]

    monkeypatch.setattr("course_utils.speed.rungs.LADDERS", {"flow": small})
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    looked: list[str] = []
    look = ladder_file.look
    monkeypatch.setattr(
        ladder_file, "look", lambda draw, *rest: looked.append(draw.__self__.rung.name) or look(draw, *rest)
    )
    student = str(student_weights(home_of_tiny, tmp_path / "pupil"))
    words = ["bench", str(home_of_tiny), "--prompts", "6", "--sample", "1", "--rounds", "1", "--device", "cpu"]
    words += ["--students", student, "--out", str(tmp_path / "out")]
    assert main([*words, "--untimed", "--minutes", "1e-9"]) == 0 and not looked
    assert main([*words, "--untimed"]) == 0 and not (tmp_path / "out").exists()
    alone = ["naive start", "fewer steps", "guidance interval", "control: fewer steps", "student pupil"]
    assert set(alone) < set(looked) and len(set(looked)) == len(looked) and "fair start" not in looked
    capsys.readouterr()
    assert main(words) == 0 and len(set(looked)) == len(looked)  # what an untimed run has seen is not looked at again
    assert "| **fair start** |" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "ladder-cpu.json").read_text())
    about = json.loads((tmp_path / "out" / "ceilings-cpu.json").read_text())
    assert all(row["machine"] and row["versions"]["torch"] and row["date"] for row in [*rows, about])
    assert rows[0]["pictures_b"] == 1 and rows[0]["pictures"] == 6
    by_name = {row["rung"]: row for row in rows}
    jumps, control = by_name["student pupil"], by_name["control of student pupil: fewer steps"]
    assert (jumps["steps"], jumps["evaluations"], control["evaluations"]) == (2, 2, 2) and jumps["accuracy"] is not None
    seen = len(looked)
    assert main([*words, "--untimed", "--restart"]) == 0 and len(looked) > seen
    assert set(rows[0]["measured"]["weights"]) == {"tiny", "pupil", "judge", "features"}
    assert "--out" not in rows[0]["measured"]["command"]


def test_what_was_found_is_kept_for_the_same_question_only(tmp_path: Path) -> None:
    asked = []
    make = lambda value: lambda: asked.append(value) or {"right": [True, value], "x": torch.ones(2)}  # noqa: E731
    first = Kept(tmp_path / "bench.pt", ("flow", 3))
    assert first("a", make(1))["right"] == first("a", make(2))["right"] == [True, 1] and asked == [1]
    again = Kept(tmp_path / "bench.pt", ("flow", 3))
    assert torch.equal(again("a", make(3))["x"], torch.ones(2)) and asked == [1]
    other = Kept(tmp_path / "bench.pt", ("flow", 4))
    assert other("a", make(5))["right"] == [True, 5]
    other.drop()
    assert not (tmp_path / "bench.pt").exists() and Kept()("a", make(6))["right"] == [True, 6]


def test_a_ladder_goes_on_where_it_was_and_looks_at_equal_pictures_once(generator, tmp_path: Path, monkeypatch) -> None:
    features = Features.load(features_weights(tmp_path / "features"))  # type: ignore[arg-type]
    asked = asked_of(features, 3, 1, copies=2)
    readers = Readers(Judge.load(judge_weights(tmp_path / "judge")), features, None, 0)  # type: ignore[arg-type]
    looked: list[Any] = []
    look = ladder_file.look
    monkeypatch.setattr(
        ladder_file, "look", lambda draw, *rest: looked.append(draw.__self__.rung.name) or look(draw, *rest)
    )
    given = (generator, flow_ladder(1, naive=2)[:4], MACHINE, "flow")
    more = {"batches": (1, 2), "rounds": 1, "readers": readers, "asked": asked}
    there = lambda: {"kept": Kept(tmp_path / "times.pt", 1), "looked": Kept(tmp_path / "quality.pt", 1)}  # noqa: E731
    rows = climb(*given, **more, **there())
    assert looked == ["naive start", "fewer steps"]  # the others draw the pictures of the second
    by_name = {row["rung"]: row for row in rows}
    assert by_name["fair start"]["quality_of"] == by_name["+ fused attention"]["quality_of"] == "fewer steps"
    assert by_name["fair start"]["accuracy"] == by_name["fewer steps"]["accuracy"] is not None
    assert by_name["fewer steps"]["quality_of"] is None
    again = climb(*given, **more, **there())
    assert again == rows and len(looked) == 2
    (tmp_path / "times.pt").unlink()  # the times are taken anew, the quality is not looked at again
    again = climb(*given, **more, **there())
    assert [row["accuracy"] for row in again] == [row["accuracy"] for row in rows] and len(looked) == 2
    assert [row["ms_batch1"] for row in again] != [row["ms_batch1"] for row in rows]


def test_the_fused_kernel_is_the_plain_one_forward_and_backward() -> None:
    """In a process of its own: Triton's interpreter must be asked for before Triton is first imported."""
    pytest.importorskip("triton", reason="triton is not installed")
    code = """
import torch
from course_utils.speed import fused
assert fused.ready() == ""
for shape in ((2, 5, 40), (3, 2, 16)):
    b, n, d = shape
    given = [torch.randn(*s) for s in (shape, (b, d), (b, d))]
    grad, found = torch.randn(shape), []
    for function in (fused.plain, fused.modulated):
        leaves = [one.clone().requires_grad_() for one in given]
        out = function(*leaves)
        out.backward(grad)
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    assert all(torch.allclose(a, b, atol=1e-4) and a.std() > 0.1 for a, b in zip(*found))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


def test_time_that_is_over_leaves_quality_out(generator, tmp_path: Path) -> None:
    features = Features.load(features_weights(tmp_path / "features"))  # type: ignore[arg-type]
    asked = asked_of(features, 3, 1, copies=2)
    readers = Readers(Judge.load(judge_weights(tmp_path / "judge")), features, None, 0)  # type: ignore[arg-type]
    rungs = flow_ladder(1, naive=2)[:4]
    found = climb(generator, rungs, MACHINE, "flow", batches=(1,), rounds=1, readers=readers, asked=asked, until=0)
    assert [row["accuracy"] for row in found] == [None] * 4 and all(row["ms_batch1"] > 0 for row in found)


def test_bench_refuses_what_makes_no_sense(capsys) -> None:
    for words, said in (
        (["judge"], "no ladder"),
        (["--rounds", "0"], "at least 1"),
        (["--prompts", "2"], "at least 3"),
    ):
        assert main(["bench", *words]) == 2
        assert said in capsys.readouterr().err


def test_ceilings_alone(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(bench, "limits", lambda *_: MACHINE)
    assert main(["bench", "--ceilings", "--device", "cpu"]) == 0
    assert "fp32 10, bf16 10" in capsys.readouterr().out
    assert main(["bench", "--ceilings", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]


def test_a_picture_is_read_once() -> None:
    class Counting:
        calls = 0

        def read(self, pictures):
            self.calls += 1
            return [None] * len(pictures)

    fitter = Counting()
    readers = Readers(None, None, fitter, 2)  # type: ignore[arg-type]
    pictures = torch.randint(256, (3, 3, 4, 4), dtype=torch.uint8)
    readers.second(pictures)
    readers.second(pictures.flip(0))
    assert fitter.calls == 3  # two, and then the third


def test_the_bench_needs_little(tmp_path: Path) -> None:
    """It runs where PyTorch, NumPy, safetensors, tokenizers and tqdm are, and nothing else."""
    import subprocess

    code = (
        "import sys\nfor name in 'PIL matplotlib sklearn scipy torchvision IPython'.split(): sys.modules[name] = None\n"
        "from course_utils.__main__ import main\nfrom course_utils.speed import ladder\nfrom course_utils.measure import synthesis, judge\n"
        "sys.exit(main(['bench', '--ceilings', '--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent
    )
    assert done.returncode == 0, done.stderr
