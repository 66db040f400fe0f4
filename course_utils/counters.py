"""Random numbers by counting: each is a function of a seed and of what it is for, not of what was drawn before.

So a scene, a caption, a picture's noise or a batch is the same on every machine, in any order and in any company. Stored
pictures, labels and weights rest on these values. Mixing by `mix` follows Steele, Lea & Flood 2014, "Fast splittable
pseudorandom number generators" (SplitMix64).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")
MASK = (1 << 64) - 1
ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of SplitMix64: its step and its two factors


def mix(x: Any) -> Any:
    """A bijection of 64-bit integers that looks random: of one int, or of an array of uint64."""
    x = ((x ^ (x >> 30)) * ODD[1]) & MASK
    x = ((x ^ (x >> 27)) * ODD[2]) & MASK
    return x ^ (x >> 31)


def mix_32(x: Tensor) -> Tensor:
    """The same of 32-bit integers, held as int64: no device has unsigned ones of 64 bits (Wellons 2018, "lowbias32")."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return x ^ (x >> 16)


class Draws:
    """A stream of integers for each of N numbers of a list that belongs to `seed`: SplitMix64, all N at a time."""

    def __init__(self, seed: int, index: NDArray[np.uint64]):
        self.base, self.counter = mix(index + mix((seed + ODD[0]) & MASK)), 0

    def fork(self, key: int, which: NDArray) -> Draws:
        """Fresh draws for some of the N, named by `key`."""
        other = copy.copy(self)
        other.base, other.counter = mix(self.base[which] ^ key), 0
        return other

    def raw(self, n: int = 1) -> NDArray[np.uint64]:
        """(N, n) integers of 64 bits."""
        counters = np.arange(self.counter + 1, self.counter + n + 1, dtype=np.uint64)
        self.counter += n
        return mix(self.base[:, None] + counters * ODD[0])

    def below(self, n: int) -> NDArray[np.int64]:
        """(N,) integers in 0..n-1."""
        return ((self.raw()[:, 0] >> 40) * n >> 24).astype(np.int64)

    def bits(self, *shape: int) -> NDArray[np.int64]:
        """(N, *shape) integers in 0..65535."""
        return (self.raw(math.prod(shape)) >> 48).astype(np.int64).reshape(-1, *shape)


class Dice:
    """One stream in plain Python, many times faster than `Draws` for a single number: `mix`, then Knuth's LCG (MMIX)."""

    def __init__(self, seed: int, salt: int = 0):
        self.state = mix((seed * ODD[0] + salt * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & MASK)

    def below(self, n: int) -> int:
        """An integer in 0..n-1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return ((self.state >> 32) * n) >> 32

    def pick(self, options: Sequence[T]) -> T:
        """One of the options (`below` written out: this is called fifteen times for a caption)."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK
        return options[((self.state >> 32) * len(options)) >> 32]

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred cases."""
        return self.below(100) < percent


def seed_for(*parts: int) -> int:
    """A seed for a `torch.Generator` that belongs to one to three numbers, such as (seed, prompt, copy)."""
    return (sum(part * odd for part, odd in zip(parts, ODD[: len(parts)], strict=True)) + 1) & (MASK >> 1)


def batch_seed(seed: int, position: int) -> int:
    """A seed for the `torch.Generator` of the batch of a training that begins at picture number `position`.

    Not `seed_for`, so that a command trains the weights that it always trained. Two seeds meet only after 2.6 thousand million pictures.
    """
    return seed * 0x9E3779B1 + position


def noise_seed(seed: int, position: int) -> int:
    """A seed for the global generators, where a part of a batch begins at picture number `position`: not `batch_seed`'s.

    Else the noise would be the numbers by which the pictures were chosen. Generators on a CPU read 32 bits of a seed, so the
    difference is in these.
    """
    return batch_seed(seed, position) + 0x85EBCA6B
