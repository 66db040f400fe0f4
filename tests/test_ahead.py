"""Batches made ahead of time: the same as those made when they are asked for, and nobody left behind."""

from __future__ import annotations

import gc
import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch

from course_utils.training.ahead import Ahead, Waiting


def prepare(position: int, n: int) -> torch.Tensor:
    return torch.arange(position, position + n) ** 2


def finish(prepared: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return prepared + torch.rand(len(prepared), generator=generator)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_two_halves_in_any_order(workers):
    batches, state = Ahead(prepare, finish, workers), torch.get_rng_state()
    for position, n in [(0, 4), (4, 4), (8, 4), (100, 4), (104, 4), (4, 4), (8, 2), (10, 2)]:  # jumps, and another size
        found = batches(position, n, torch.Generator().manual_seed(position))
        assert torch.equal(found, finish(prepare(position, n), torch.Generator().manual_seed(position)))
    assert torch.equal(torch.get_rng_state(), state), "the loss draws from this generator"
    assert len(multiprocessing.active_children()) == workers  # those of earlier rows have gone
    del batches
    gc.collect()
    assert not multiprocessing.active_children()


def broken(position: int, n: int) -> torch.Tensor:
    raise ValueError(f"no batch at {position}")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_the_first_half_is_not_lost(workers):
    with pytest.raises(ValueError, match="no batch at 8"):
        Ahead(broken, finish, workers)(8, 4, torch.Generator())


def test_waiting_is_the_share_of_the_time_that_the_first_half_took():
    slow = Ahead(lambda position, n: time.sleep(0.05) or prepare(position, n), finish)
    waiting, state = Waiting(slow), SimpleNamespace()
    for position in (0, 4):
        slow(position, 4, torch.Generator())
    assert 0.9 < waiting(state)["waiting"] <= 1
    slow(8, 4, torch.Generator())
    time.sleep(0.15)  # since the line before: 0.05 of 0.2 seconds
    assert 0.05 < waiting(state)["waiting"] < 0.5
    assert waiting(state)["waiting"] == 0  # and nothing since
