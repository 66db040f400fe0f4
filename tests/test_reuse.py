"""Reuse between steps: equal where everything is computed, cheaper where not, and nothing left from the drawing before."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small import flow_weights, shipped

from course_utils.generators import load
from course_utils.speed.ladder import equal_steps, prepare, worth
from course_utils.speed.reuse import Reused, reuse
from course_utils.speed.rungs import Rung

PROMPTS = ["a small red circle", "三个蓝色的方块"]


@pytest.fixture
def generator(tmp_path: Path):
    return load(flow_weights(tmp_path / "tiny"), "cpu")


def deep(generator):
    """The same with six blocks: of two none is an inner one."""
    generator = copy.deepcopy(generator)
    for _ in range(4):
        generator.model.blocks.append(copy.deepcopy(generator.model.blocks[0]))
    return generator


def test_computed_at_every_evaluation_it_is_the_plain_one(generator) -> None:
    plain = deep(generator)
    assert torch.equal(reuse(copy.deepcopy(plain), 1)(PROMPTS, steps=4).images, plain(PROMPTS, steps=4).images)


def test_inner_blocks_run_at_every_second_evaluation(generator) -> None:
    changed = reuse(deep(generator), 2)
    ran = [0] * 6
    for i, block in enumerate(changed.model.blocks):
        assert isinstance(block, Reused) == (0 < i < 5)
        inner = block.block if isinstance(block, Reused) else block
        inner.register_forward_pre_hook(lambda *_, i=i: ran.__setitem__(i, ran[i] + 1))
    drawn = changed(PROMPTS, steps=5)
    assert ran == [5, 3, 3, 3, 3, 5] and drawn.evaluations == 10
    assert (drawn.images - deep(generator)(PROMPTS, steps=5).images).abs().max() > 1e-4


def test_nothing_is_left_from_the_drawing_before(generator) -> None:
    changed = reuse(deep(generator), 3)
    first = changed(PROMPTS, steps=4).images
    changed(PROMPTS[::-1], steps=5, seed=1)
    assert torch.equal(changed(PROMPTS, steps=4).images, first)
    changed(PROMPTS[:1], steps=2)
    assert torch.equal(
        changed(PROMPTS, steps=4, guidance=1.0).images, reuse(deep(generator), 3)(PROMPTS, steps=4, guidance=1.0).images
    )


def test_its_control_costs_as_many_operations() -> None:
    base = load(shipped("flow-shapes"), "cpu")
    other = prepare(base, Rung("reuse", ("reuse between steps",), 4))
    steps = equal_steps(worth(other, 4, base), 4)
    plain = {k: prepare(base, Rung("", (), k)).costs(1).operations for k in (steps - 1, steps)}
    assert steps < 4 and plain[steps - 1] < other.costs(1).operations
    assert other.costs(1).operations < 1.02 * plain[steps]
    assert other.evaluations == 8
