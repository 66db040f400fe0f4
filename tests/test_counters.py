"""Random numbers by counting: the published generators, the values that stored results rest on, and no company that matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_utils.counters import MASK, ODD, Dice, Draws, batch_seed, mix, mix_32, seed_for


def test_the_mixers_are_the_published_ones():
    state, found = 1234567, []  # SplitMix64 as Java and Rosetta Code have it
    for _ in range(3):
        state = (state + ODD[0]) & MASK
        found.append(mix(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    numbers = np.array([0, 1, 2**63, MASK], np.uint64)
    assert mix(numbers).tolist() == [mix(int(x)) for x in numbers] and mix(numbers).dtype == np.uint64
    assert len(mix_32(torch.arange(100_000) * 2654435761 & 0xFFFFFFFF).unique()) == 100_000  # a bijection


def test_a_stream_does_not_depend_on_its_company():
    whole, part = Draws(7, np.arange(50, dtype=np.uint64)), Draws(7, np.array([31, 4], np.uint64))
    for draw in (lambda d: d.below(9), lambda d: d.bits(2, 3), lambda d: d.fork(5, slice(None)).below(100)):
        assert np.array_equal(draw(part), draw(whole)[[31, 4]])
    assert len(np.unique(whole.raw(2))) == 100


def test_seeds_are_the_ones_that_weights_and_pictures_were_made_with():
    """Scenes, captions and pictures have tests of their own; nothing else holds these."""
    assert seed_for(3, 17, 1) == 2617564616586413940 and seed_for(-1) == -ODD[0] + 1 & 2**63 - 1
    assert batch_seed(0, 640) == 640 and batch_seed(102, 640) == 270752448262
    with pytest.raises(ValueError, match="shorter"):
        seed_for(1, 2, 3, 4)


@pytest.mark.parametrize("n", [2, 7, 100])
def test_streams_are_even(n):
    dice = Dice(1)
    for drawn in (Draws(1, np.arange(20_000, dtype=np.uint64)).below(n), [dice.below(n) for _ in range(20_000)]):
        counts = np.bincount(drawn, minlength=n)
        assert len(counts) == n and abs(counts - 20_000 / n).max() < 5 * (20_000 / n) ** 0.5
