"""The checks of lesson 19: for each exercise the right answer, inputs to try, and the slips with what is said of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.classroom.checks import Check, empty
from course_utils.common import CourseError

block_operations = Check(
    lambda n, d: 24 * n * d * d + 4 * n * n * d,
    [(16, 160), (5, 12), (64, 32)],
    {
        "an addition is not counted: each weight is a multiplication and an addition, two operations": lambda n, d: (
            12 * n * d * d + 2 * n * n * d
        ),
        "attention itself is missing: queries times keys, weights times values": lambda n, d: 24 * n * d * d,
        "only queries times keys is counted; weights times values is as much again": lambda n, d: (
            24 * n * d * d + 2 * n * n * d
        ),
        "attention is n² · d for each head; the heads share d, so they change nothing": lambda n, d: (
            24 * n * d * d + 4 * 5 * n * n * d
        ),
        "a score is one multiplication; it is a sum over d numbers": lambda n, d: 24 * n * d * d + 4 * n * n,
        "attention is n² · d; it is two products, of two operations for each number": lambda n, d: (
            24 * n * d * d + n * n * d
        ),
        "there is one product with d x d weights; there are four": lambda n, d: 18 * n * d * d + 4 * n * n * d,
        "the MLP is missing": lambda n, d: 8 * n * d * d + 4 * n * n * d,
        "the MLP counts once; it has two layers": lambda n, d: 16 * n * d * d + 4 * n * n * d,
        "half is missing: a weight is two operations, a multiplication and an addition, and the MLP is 4 d wide inside": (
            lambda n, d: 12 * n * d * d + 4 * n * n * d
        ),
        "there are three products with d x d weights; the output is the fourth": lambda n, d: (
            22 * n * d * d + 4 * n * n * d
        ),
        "this is for one token: all n go through": lambda n, d: 24 * d * d + 4 * n * d,
        "there are always 16 tokens: use the argument": lambda n, d: 24 * 16 * d * d + 4 * 16 * 16 * d,
    },
    todo="Return a number, and run this cell again.",
    right="With n small against 6 d, nearly all of it is products with weights.",
    rtol=1e-9,
    atol=0,
)


def not_faster(rounds: list[float]) -> int:
    """In how many rounds B was not the faster one."""
    return sum(r <= 1 for r in rounds)


def ratios(
    of: Callable[[list[float]], float] = statistics.median,
    take: Callable[[float, float], float] = lambda one, other: one / other,
    lost: Callable[[list[float]], Any] = not_faster,
) -> Callable[..., Any]:
    """The answer of exercise 2, or with one part of it changed."""

    def answer(a: Sequence[float], b: Sequence[float]) -> tuple[float, Any]:
        rounds = [take(one, other) for one, other in zip(a, b, strict=True)]
        return of(rounds), lost(rounds)

    return answer


faster = Check(
    ratios(),
    [
        ([3.0, 9.0, 4.0, 40.0, 5.0, 6.5], [2.0, 10.0, 2.5, 16.0, 6.0, 6.5]),
        ([1.0, 2.0, 8.0, 0.5], [0.7, 2.2, 1.0, 0.2]),
        ([9.0, 1.0, 5.0], [3.0, 2.0, 2.5]),
    ],
    {
        "the medians are divided: these are blocks; divide inside each round": lambda a, b: (
            statistics.median(a) / statistics.median(b),
            ratios()(a, b)[1],
        ),
        "the means are divided": lambda a, b: (sum(a) / sum(b), ratios()(a, b)[1]),
        "the mean of the ratios is taken: one odd round moves it": ratios(statistics.mean),
        "the ratio is upside down: how many times *faster* is a / b": ratios(
            take=lambda one, other: other / one, lost=lambda rounds: sum(r >= 1 for r in rounds)
        ),
        "of an even number the lower middle is taken, as torch.median does": ratios(statistics.median_low),
        "of an even number the upper middle is taken": ratios(statistics.median_high),
        "the two are exchanged: the ratio comes first": lambda a, b: ratios()(a, b)[::-1],
        "the times are subtracted: *how many times* faster is a / b": ratios(
            take=lambda one, other: one - other, lost=lambda rounds: sum(r <= 0 for r in rounds)
        ),
        "this is by how many percent B is faster; how many times is asked": ratios(
            lambda rounds: 100 * (statistics.median(rounds) - 1)
        ),
        "the fastest of each are divided; take the median of the ratios": lambda a, b: (
            min(a) / min(b),
            ratios()(a, b)[1],
        ),
        "the rounds are listed; their number is asked": ratios(
            lost=lambda rounds: [k for k, r in enumerate(rounds) if r <= 1]
        ),
        "there is a yes or no for each round; the number of rounds is asked": ratios(
            lost=lambda rounds: [r <= 1 for r in rounds]
        ),
        "rounds that B wins are counted": ratios(lost=lambda rounds: sum(r > 1 for r in rounds)),
        "a tie counts as a win of B": ratios(lost=lambda rounds: sum(r < 1 for r in rounds)),
        "a share is given; the number of rounds is asked": ratios(
            lost=lambda rounds: sum(r <= 1 for r in rounds) / len(rounds)
        ),
    },
    todo="Return two numbers, and run this cell again.",
)


def least(
    pick: Callable[..., Any] = max, scale: float = 1000.0, leave: Sequence[str] = (), swap: bool = False
) -> Callable[..., Any]:
    """The answer of exercise 3, or with one part of it changed."""

    def answer(operations: float, nbytes: float, peak: float, bandwidth: float, overhead: float) -> tuple[float, str]:
        times = {"arithmetic": operations / peak, "memory": nbytes / bandwidth, "overhead": overhead}
        if swap:
            times |= {"arithmetic": times["memory"], "memory": times["arithmetic"]}
        times = {name: value for name, value in times.items() if name not in leave}
        name = pick(times, key=lambda one: times[one])
        return scale * times[name], name

    return answer


floor = Check(
    least(),
    [
        (4e9, 1e6, 2e10, 1e10, 2e-6),
        (1e6, 4e8, 3e10, 8e9, 3e-6),
        (100.0, 40.0, 4e10, 1.2e10, 5e-6),
    ],
    {
        "these are seconds; milliseconds are asked": least(scale=1.0),
        "the overhead is left out: a small kernel is not free": least(leave=["overhead"]),
        "memory is left out": least(leave=["memory"]),
        "arithmetic is left out": least(leave=["arithmetic"]),
        "the smallest is taken: a kernel must wait for all three": least(min),
        "the times are added; the machine does them at once, so the longest decides": lambda o, n, p, b, t: (
            1000 * (o / p + n / b + t),
            least()(o, n, p, b, t)[1],
        ),
        "the overhead is added; the longest of the three decides": lambda o, n, p, b, t: (
            1000 * (max(o / p, n / b) + t),
            least()(o, n, p, b, t)[1],
        ),
        "the overhead is taken for milliseconds; it is in seconds, as the other two are": lambda o, n, p, b, t: least(
            scale=1.0
        )(1000 * o, 1000 * n, p, b, t),
        "these are microseconds; milliseconds are asked": least(scale=1e6),
        "each byte is counted as a number of 4 bytes; `nbytes` counts bytes already": lambda o, n, p, b, t: least()(
            o, 4 * n, p, b, t
        ),
        "the two are exchanged: the milliseconds come first": lambda *given: least()(*given)[::-1],
        "the names are compared, not their times: `max` of a dictionary takes the last name, `key` says by what": least(
            lambda times, key: max(times)
        ),
        "the name is the last of the alphabet: `max` of a dictionary compares its names": lambda *given: (
            least()(*given)[0],
            "overhead",
        ),
        "the names of arithmetic and memory are exchanged": least(swap=True),
    },
    todo="Return a number and a name, and run this cell again.",
    rtol=1e-6,
    atol=0,
)


def whole(left: Callable[[float, float], float] = lambda share, factor: share / factor) -> Callable[..., float]:
    """The answer of exercise 4, or with another idea of what is left of a part."""

    def answer(shares: Mapping[str, float], promises: Mapping[str, float]) -> float:
        return sum(shares.values()) / sum(left(share, promises.get(name, 1.0)) for name, share in shares.items())

    return answer


def product(shares: Mapping[str, float], promises: Mapping[str, float]) -> float:
    """The slip that multiplies the factors."""
    found = 1.0
    for factor in promises.values():
        found *= factor
    return found


speedup = Check(
    whole(),
    [
        ({"conv": 0.5, "linear": 0.3, "norm": 0.2}, {"conv": 2.0, "norm": 4.0}),
        ({"text": 0.1, "body": 0.8, "decoder": 0.05, "noise": 0.05}, {"body": 10.0}),
        ({"a": 6.0, "b": 2.0}, {"b": 0.5}),
    ],
    {
        "the factors are multiplied, as if each touched all of the time": product,
        "the factors are averaged by their shares: times add up, not speeds": lambda s, p: (
            sum(share * p.get(name, 1.0) for name, share in s.items()) / sum(s.values())
        ),
        "parts without a promise are taken to cost nothing": lambda s, p: (
            sum(s.values()) / sum(s[name] / p[name] for name in p)
        ),
        "what is left of the time is given; the factor is its inverse": lambda s, p: 1 / whole()(s, p),
        "the parts with a promise are taken to cost nothing": lambda s, p: (
            sum(s.values()) / sum(v for name, v in s.items() if name not in p)
        ),
        "the shares are taken to add up to 1: divide by their sum": lambda s, p: (
            1 / sum(v / p.get(name, 1.0) for name, v in s.items())
        ),
        "the rest is taken to be 1 less the shares with a promise: the shares need not add up to 1": lambda s, p: (
            1 / (1 - sum(s[name] for name in p) + sum(s[name] / p[name] for name in p))
        ),
        "each promise has a factor of its own, and these are multiplied; add up what is left of the time": lambda s, p: (
            math.prod(whole()(s, {name: p[name]}) for name in p)
        ),
        "a part that becomes r times faster takes r times as long; it takes 1 / r": whole(
            lambda share, factor: share * factor
        ),
        "this is the share that is saved; the factor is asked": lambda s, p: 1 - 1 / whole()(s, p),
        "this is by how many percent it is faster; the factor is asked": lambda s, p: 100 * (whole()(s, p) - 1),
    },
    todo="Return a number, and run this cell again.",
)


class Simulated:
    """A device whose clock moves only as far as it is told: `times` are the milliseconds of the jobs, in the order of their launch.

    Before anything is timed some work of `before` milliseconds waits in its queue. A launch takes LAUNCH milliseconds.
    """

    LAUNCH = 0.01

    def __init__(self, times: Sequence[float], before: float):
        self.times, self.now, self.busy_until = list(times), 0.0, before
        self.read = False

    def launch(self, job: Any) -> None:
        """Puts a job at the end of the queue, and returns."""
        self.now += self.LAUNCH
        taken = self.times.pop(0) if self.times else 9.5
        self.busy_until = max(self.now, self.busy_until) + taken

    def synchronize(self) -> None:
        """Waits for the queue to be empty."""
        self.now = max(self.now, self.busy_until)

    def clock(self) -> float:
        """Seconds."""
        self.read = True
        return self.now / 1000


def job() -> None:
    """What is launched on the simulated device."""
    raise CourseError("The job is called here; `device.launch(job)` leaves that to the device.")


def on_its_clock(answer: Any) -> Callable[..., Any]:
    """For `observe`: the time that the function tells, if it is the device's."""

    def tried(device: Simulated, *given: Any) -> Any:
        found = answer(device, *given)
        if not device.read and not empty(found):
            raise CourseError("Read the time with `device.clock()`: no other clock knows this device.")
        return found

    return tried


def clocked(
    warm: int = 1,
    before: bool = True,
    after: bool = True,
    summary: Callable[[list[float]], float] = statistics.median,
    whole: bool = False,
    scale: float = 1000.0,
    always: int = 0,
    each: bool = False,
) -> Callable[..., float]:
    """The timer of the clinic, or with one part of it changed."""

    def timer(device: Any, job: Any, repeats: int) -> float:
        for _ in range(warm):
            device.launch(job)
        if whole:
            device.synchronize()
            started = device.clock()
            for _ in range(repeats):
                device.launch(job)
            device.synchronize()
            return scale * (device.clock() - started) / repeats
        found = []
        for _ in range(always or repeats):
            if each:
                device.launch(job)
            if before:
                device.synchronize()
            started = device.clock()
            device.launch(job)
            if after:
                device.synchronize()
            found.append(scale * (device.clock() - started))
        return summary(found)

    return timer


def once(device: Any, job: Any, repeats: int) -> float:
    """The broken timer."""
    started = device.clock()
    device.launch(job)
    return 1000 * (device.clock() - started)


timer = Check(
    clocked(),
    [
        (Simulated([500.0, 10.0, 12.0, 90.0, 11.0, 9.0], 40.0), job, 5),
        (Simulated([80.0, 3.0, 2.0, 7.0, 2.5], 15.0), job, 4),
        (Simulated([30.0, 6.0, 50.0, 5.0], 900.0), job, 3),
    ],
    {
        "the clock stops when the work is launched, not when it is done: synchronise before it stops": once,
        "there is no warm-up: the first call is among the timings": clocked(warm=0),
        "there are two warm-ups; one is asked": clocked(warm=2),
        "work that waited before the clock started is counted: synchronise before it starts": clocked(before=False),
        "the mean is taken; the median is asked": clocked(summary=statistics.mean),
        "the least is taken; the median is asked": clocked(summary=min),
        "of an even number the upper middle is taken; the median is the mean of the two": clocked(
            summary=statistics.median_high
        ),
        "of an even number the lower middle is taken; the median is the mean of the two": clocked(
            summary=statistics.median_low
        ),
        "each timing has a warm-up of its own; one, before the loop, is asked": clocked(warm=0, each=True),
        "the warm-up is one of the `repeats`; it is one launch more": lambda device, job, repeats: clocked()(
            device, job, repeats - 1
        ),
        "all launches are timed together: that gives their mean": clocked(whole=True),
        "these are seconds; milliseconds are asked": clocked(scale=1.0),
        "it is timed once only: use `repeats`": clocked(always=1),
    },
    todo="Return a number, and run this cell again.",
    right="It also tells the work apart from what was in the queue before.",
    observe=on_its_clock,
)
