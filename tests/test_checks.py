"""Checks of exercises: "right" to the solution, "not done yet" to the stub, and each slip by its name."""

from __future__ import annotations

import functools
import importlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_utils.classroom import (
    checks,
    checks_04,
    checks_06,
    checks_10,
    checks_11,
    checks_12,
    checks_13,
    checks_16,
    checks_17,
    checks_19,
    checks_20,
    run,
)
from course_utils.classroom.checks import Check, Stopped
from course_utils.classroom.tidy import code_cells, read, tags, text
from course_utils.worlds.captions import parse
from course_utils.worlds.scenes import Scene, Thing

TABLES = [
    importlib.import_module(f"course_utils.classroom.{path.stem}")
    for path in Path(checks.__file__).parent.glob("checks_*.py")
]
CHECKS = {name: check for table in TABLES for name, check in vars(table).items() if isinstance(check, Check)}
FUNCTIONS = {name: check for name, check in CHECKS.items() if any(check.inputs)}
SLIPS = [pytest.param(check, slip, id=f"{name}-{slip[:60]}") for name, check in CHECKS.items() for slip in check.slips]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_solution_is_right_and_the_stub_is_not_done(check: Check) -> None:
    assert check(check.reference).startswith("right.")
    assert not any(isinstance(check.outcome(check.reference, given), Stopped) for given in check.inputs)
    for empty in (None, ..., (None, ...)):
        for stub in (empty, lambda *_, empty=empty: empty) if check in FUNCTIONS.values() else (empty,):
            assert check(stub) == f"not done yet. {check.todo}"


@pytest.mark.parametrize(("check", "slip"), SLIPS)
def test_a_slip_is_called_by_its_name(check: Check, slip: str) -> None:
    said = check(check.slips[slip])
    assert said.startswith(("not yet. ", "nearly. ")) and said.endswith(f" It looks as if {slip}."), said


@pytest.mark.parametrize("check", FUNCTIONS.values(), ids=FUNCTIONS)
def test_each_argument_changes_from_trial_to_trial(check: Check) -> None:
    for values in zip(*check.inputs, strict=True):
        numbers = [value for value in values if isinstance(value, torch.Tensor | float | int)]
        assert len(check.inputs) >= 2 and (
            not numbers or len({str(torch.as_tensor(one).tolist()) for one in numbers}) >= 2
        )
    tensors = [one for given in check.inputs for one in given if isinstance(one, torch.Tensor)]
    assert not tensors or len({len(one) for one in tensors}) >= 2


def spoil(check: Check, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """The right answer with `change` applied to its number, its tensor or each of its tensors."""

    def answer(*given: Any) -> Any:
        right = check.reference(*given)
        return tuple(map(change, right)) if isinstance(right, tuple) else change(right)

    return answer


def steady(check: Check) -> Callable[..., Any]:
    """An answer that gives what was right when it was first asked, ever after."""
    first: list[Any] = []

    def answer(*given: Any) -> Any:
        first.append(check.reference(*given))
        return first[0]

    return answer


ODD = ["three", [], {}, torch.zeros(2, 2), object(), math.nan, [["a"], 1], np.array(["a", None], dtype=object)]
ODD += [[torch.zeros(2, 3), torch.zeros(3, 3)], [[torch.zeros(2)], [1, 2]], {"a": torch.zeros(2)}]


@pytest.mark.parametrize("check", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_is_a_little_wrong_is_never_right_and_nothing_crashes_a_check(check: Check) -> None:
    wrong = [spoil(check, change) for change in (lambda x: x + 1, lambda x: -x, lambda x: x * 1.01)] + [steady(check)]
    wrong += [lambda *_, odd=odd: odd for odd in ODD] + [
        lambda *_: 1 / 0,
        lambda: 1,
        lambda *_: torch.randn(3),
        3,
        "text",
    ]
    for answer in wrong:
        said = check(answer)
        assert said.startswith(("not yet. ", "nearly. ")), said


@pytest.mark.parametrize("check", [check for check in CHECKS.values() if check not in FUNCTIONS.values()])
def test_no_value_crashes_a_check(check: Check) -> None:
    for value in (
        "two",
        (1, "a"),
        (1, 2, 3),
        {},
        [],
        torch.ones(3),
        math.nan,
        math.inf,
        (-1, -math.inf),
        object(),
        17,
        1e9,
    ):
        assert check(value).startswith("not yet. ")


def loop_rates(eigenvalues: Any, sigma: float, beta: float) -> list[float]:
    return [0.5 * max(0.0, math.log(one / (beta * sigma**2))) for one in eigenvalues]


def loop_loss(heads: Any, decode: Callable, images: Any, noise: Any) -> Any:
    """Clinic 1 of lesson 04 by other ways: a library's distributions, one picture after the other."""
    total = 0.0
    for row, image, draw in zip(heads, images, noise, strict=True):
        mean, log_variance = row.tensor_split(2)
        q = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum()
        total = total + F.binary_cross_entropy_with_logits(decode(mean + q.stddev * draw), image, reduction="sum") + kl
    return total / len(heads)


def interleaved(model: Callable, x: Any, t: Any, text: Any, null: Any, g: float) -> Any:
    v = model(x.repeat_interleave(2, 0), t.repeat_interleave(2), torch.stack([null, text], 1).flatten(0, 1))
    return g * v[1::2] + (1 - g) * v[::2]


def row_by_row(v_null: Any, v_text: Any, t: Any, g: float, low: float, high: float) -> Any:
    return [a + g * (b - a) if low <= time < high else b for a, b, time in zip(v_null, v_text, t, strict=True)]


def careless(answer: Callable) -> Callable:
    """Spoils what it was given once it has its answer."""

    def spoiling(*given: Any) -> Any:
        got = answer(*given)
        got = tuple(one.clone() for one in got) if isinstance(got, tuple) else got.clone()
        for one in given:
            if isinstance(one, torch.Tensor) and not one.requires_grad and one._base is None:
                one.zero_()
        return got

    return spoiling


def loop_js(p: Any, q: Any) -> float:
    """The Jensen-Shannon divergence by entropies: that of the mixture minus the mean of both."""
    entropy = lambda chances: -sum(float(c) * math.log(c) for c in chances if c > 0)  # noqa: E731
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def cross_entropies(real: Any, fake: Any) -> tuple[Any, Any]:
    bce = F.binary_cross_entropy_with_logits
    ones = torch.ones_like(fake)
    return bce(real, torch.ones_like(real)) + bce(fake, 0 * ones), bce(fake, ones)


def loop_drift(x: Any, data: Any, samples: Any, h: float) -> Any:
    """The drift one point after the other, from displacements: exercise 3 of lesson 06 as the paper writes it."""

    def shift(one: Any, points: Any) -> Any:
        weights = [math.exp(-float((y - one).square().sum()) / (2 * h**2)) for y in points]
        return sum(w * (y - one) for w, y in zip(weights, points, strict=True)) / sum(weights)

    return torch.stack([shift(one, data) - shift(one, samples) for one in x])


def three_evaluations(velocity: Callable, x: Any, t: Any, following: Any) -> Any:
    return (
        x
        + (following - t)[:, None]
        * (velocity(x, t) + velocity(checks_16.euler_step(velocity, x, t, following), following))
        / 2
    )


def overwriting(velocity: Callable, x: Any, t: Any, following: Any) -> Any:
    length, first = (following - t)[:, None], velocity(x, t)
    x += length * first
    return x + length * (velocity(x, following) - first) / 2


def cumulated(x1: Any, betas: Any, k: int, noise: Any) -> Any:
    alpha_bar = (1 - betas).cumprod(0)[k - 1]
    return alpha_bar.sqrt() * x1 + (1 - alpha_bar).sqrt() * noise


def loop_perplexities(log_p: Any, there: Any, characters: Any) -> tuple[float, float]:
    nats = [
        -x.item() for row, of in zip(log_p, there, strict=True) for x, counts in zip(row, of, strict=True) if counts
    ]
    return math.exp(sum(nats) / len(nats)), math.exp(sum(nats) / characters)


def in_own_table(logits: Any, temperature: float, top_p: float) -> Any:
    """Nucleus sampling that writes into a table of its own, token by token, the likeliest first."""
    p, order = (logits / temperature).softmax(-1).sort(descending=True)
    kept = torch.zeros(len(p))
    kept[order] = p * (p.cumsum(0) - p < top_p)
    return kept / kept.sum()


def from_the_least_likely(logits: Any, temperature: float, top_p: float) -> Any:
    """Nucleus sampling as some libraries have it: the tail is what adds up to no more than 1 - top_p."""
    p, order = (logits / temperature).softmax(-1).sort()
    tail = torch.zeros(len(p), dtype=torch.bool).scatter(0, order, p.cumsum(0) <= 1 - top_p + 1e-6)
    return (logits / temperature).masked_fill(tail, -math.inf).softmax(-1)


def by_matrices(x: Any, positions: Any) -> Any:
    """RoPE with a matrix (d, d) for each place."""
    d = x.shape[-1]
    R = torch.zeros(len(positions), d, d)
    for row, t in zip(R, positions.tolist(), strict=True):
        for i in range(d // 2):
            angle = t * 10_000 ** (-2 * i / d)
            row[i, i] = row[i + d // 2, i + d // 2] = math.cos(angle)
            row[i, i + d // 2], row[i + d // 2, i] = -math.sin(angle), math.sin(angle)
    return (R @ x[..., None])[..., 0]


def place_by_place(x: Any, W_Q: Any, W_K: Any, W_V: Any) -> Any:
    """Causal attention without a mask: each place is given what it may see."""
    seen = [x[:, : t + 1] for t in range(x.shape[1])]
    weights = [((past @ W_K) @ (past[:, -1:] @ W_Q).mT / W_Q.shape[1] ** 0.5).softmax(1) for past in seen]
    return torch.stack([(w * (past @ W_V)).sum(1) for w, past in zip(weights, seen, strict=True)], 1)


def ignoring(model: Callable, tokens: Any) -> Any:
    """The loss of a language model by the library's own number for "not asked"."""
    read = torch.cat([torch.full((len(tokens), 1), checks_11.BEGIN), tokens], 1)
    wanted = F.pad(tokens, (0, 1)).masked_fill(read == checks_11.PAD, -100)
    return F.cross_entropy(model(read).flatten(0, 1), wanted.flatten())


def left_out_of_the_sums(logits: Any, scenes: Any) -> Any:
    """The clinic of lesson 13 without a mask: sums over what may answer."""
    may = (scenes[:, None] != scenes) | torch.eye(len(scenes), dtype=torch.bool)
    table = logits.double().exp() * may
    return sum((table.sum(way) / table.diagonal()).log().mean() for way in (0, 1)) / 2


def ordered_hits(requests: Any, most: int) -> Any:
    """Exercise 3 of lesson 12 with a dictionary that knows its order, and the count as a tensor."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = torch.tensor(0)
    for one in requests:
        if one in kept:
            hits += 1
            kept.move_to_end(one)
        else:
            kept[one] = None
            if len(kept) > most:
                kept.popitem(last=False)
    return hits


def library_hits(requests: Any, most: int) -> int:
    """The same by Python's own cache."""
    read = functools.lru_cache(maxsize=most)(lambda one: one)
    for one in requests:
        read(one)
    return read.cache_info().hits


def one_by_one(tokens: Any, noise: Any, language_model: Callable, generator: Callable, classifier: Callable) -> Any:
    """Clinic 1 of lesson 12, a caption at a time, with lists."""
    pictures = [generator(noise[i : i + 1], language_model(row[None]))[0] for i, row in enumerate(tokens)]
    scores = [classifier(picture[None])[0].tolist() for picture in pictures]
    return [pictures, [row.index(max(row)) for row in scores]]


def hidden_behind(tokens: Any, noise: Any, language_model: Callable, generator: Callable, classifier: Callable) -> Any:
    """The mistake of that clinic: a second network takes the first one's name."""
    model = language_model
    model = classifier
    return model(tokens)


def by_place(*given: Any) -> tuple[Any, Any]:
    """Exercise 3 of lesson 19 with NumPy, whose texts are of a type of its own."""
    operations, nbytes, peak, bandwidth, overhead = given
    times = np.array([operations / peak, nbytes / bandwidth, overhead])
    return 1000 * times.max(), np.array(["arithmetic", "memory", "overhead"])[times.argmax()]


def first_left_out(device: Any, job: Any, repeats: int) -> float:
    """The clinic of lesson 19: the warm-up is timed, too, and left out."""
    times = []
    for _ in range(repeats + 1):
        device.synchronize()
        started = device.clock()
        device.launch(job)
        device.synchronize()
        times.append(1000 * (device.clock() - started))
    return float(np.median(times[1:]))


def own_clock(device: Any, job: Any, repeats: int) -> float:
    device.launch(job)
    device.synchronize()
    return time.perf_counter()


def query_by_query(q: Any, k: Any, y: Any, size: int) -> Any:
    """Exercise 3 of lesson 20, one query after the other; products are summed by hand."""
    rows = []
    for query in q:
        m, weight, out = -math.inf, 0.0, torch.zeros(y.shape[1])
        for keys, values in zip(k.split(size), y.split(size), strict=True):
            a = (keys * query).sum(1) / len(query) ** 0.5
            new = max(m, float(a.max()))
            p = (a - new).exp()
            weight = math.exp(m - new) * weight + p.sum()
            out = math.exp(m - new) * out + (p[:, None] * values).sum(0)
            m = new
        rows.append(out / weight)
    return torch.stack(rows)


def by_logsumexp(q: Any, k: Any, y: Any, size: int) -> Any:
    """The same with the logarithm of the sum in the place of m and l."""
    log_sum, out = torch.full((len(q), 1), -math.inf), torch.zeros(len(q), y.shape[1])
    for keys, values in zip(k.split(size), y.split(size), strict=True):
        a = (q[:, None] * keys).sum(-1) / q.shape[1] ** 0.5
        more = a.logsumexp(1, keepdim=True)
        total = torch.logaddexp(log_sum, more)
        out = out * (log_sum - total).exp() + (a.softmax(1) @ values) * (more - total).exp()
        log_sum = total
    return out


def largest_first(q: Any, k: Any, y: Any, size: int) -> Any:
    """The same in two walks: first the largest scores, then the sums."""
    scores = [lambda keys=keys: q @ keys.T / q.shape[1] ** 0.5 for keys in k.split(size)]
    m = functools.reduce(torch.maximum, (one().amax(1, keepdim=True) for one in scores))
    weight = sum((one() - m).exp().sum(1, keepdim=True) for one in scores)
    return sum((one() - m).exp() @ values for one, values in zip(scores, y.split(size), strict=True)) / weight


def table_of_shapes(lengths: Any, shapes: int) -> int:
    """Exercise 4 of lesson 20 by the table of its second hint."""
    known = sorted(lengths)
    best = [0.0] + [math.inf] * len(known)
    for _ in range(shapes):
        best = [0.0] + [
            min(best[i] + sum(known[j - 1] - one for one in known[i:j]) for i in range(j))
            for j in range(1, len(known) + 1)
        ]
    return int(best[-1])


def zeros_in_front(compiler: Any, model: Any, batches: Any) -> Any:
    """Clinic 2 of lesson 20 with a size of its own, padded from above."""
    fast = compiler(model)
    return tuple(fast(F.pad(x, (0, 0, 9 - len(x), 0)))[9 - len(x) :] for x in batches)


ALSO_RIGHT = [
    ("heun_step", checks_16.heun(lambda f, x, v, t, n: f(x.add((n - t)[:, None] * v), n))),
    ("noise_deviation", lambda t, s: (1 - t) / torch.sqrt((1 - t) ** 2 + t**2 * s**2)),
    ("noise_deviation", lambda t, s: (1 - t) / math.sqrt((1 - t) ** 2 + t**2 * s**2)),
    ("bits_per_pixel", lambda p, n, s: (-p / n - math.log(s)) / 0.693),
    ("bits_per_pixel", lambda p, n, s: -(p / n / math.log(2) + math.log2(s))),
    ("bits_per_pixel", lambda p, n, s: torch.tensor([-(p / n + math.log(s)) / math.log(2)])),
    ("bits_per_pixel", lambda p, n, s: np.float32(-(p / n + np.log(s)) / np.log(2))),
    ("importance_bound", lambda w: checks_04.shifted(w, w.max(0).values)),
    ("importance_bound", lambda w: list(torch.logsumexp(w.double(), 0) - math.log(w.shape[0]))),
    ("importance_bound", lambda w: np.logaddexp.reduce(w.numpy(), 0) - np.log(len(w))),
    ("rates", lambda v, s, b: 0.5 * (v / (b * s**2)).clamp(min=1).log()),
    ("rates", loop_rates),
    ("rates", lambda v, s, b: np.array(loop_rates(v.numpy(), s, b))),
    ("rates", lambda v, s, b: torch.where(v > b * s**2, (v.sqrt() / (b**0.5 * s)).log(), 0.0)),
    ("mended_loss", loop_loss),
    ("mended_loss", lambda *given: checks_04.vae_loss()(*given)[None]),
    ("no_floor", [-0.5, -1e4]),
    ("no_floor", torch.tensor([-0.2, -1000.0])),
    ("reached", 0.1165),
    ("reached", torch.tensor(0.12)),
    ("guided_velocity", interleaved),
    ("guided_velocity", checks_17.guided(lambda text, null, g: text + (g - 1) * (text - null), order=-1)),
    ("guided_velocity", checks_17.guided(double_t=lambda t: t.repeat(2))),
    ("guided_velocity", careless(checks_17.guided())),
    ("attention_map", lambda q, k, mask: checks_17.attend()(q.double(), k.double(), mask)),
    ("attention_map", checks_17.attend(lambda s, mask: checks_17.hide(s, mask, -1e9).softmax(-1))),
    ("attention_map", lambda q, k, mask: F.scaled_dot_product_attention(q, k, torch.eye(k.shape[2]).expand(*k.shape[:2], -1, -1), mask)),
    ("attention_map", careless(checks_17.attend())),
    ("interval_guidance", row_by_row),
    ("interval_guidance", lambda n, v, t, g, low, up: n + checks_17.high(torch.where((t >= low) & (t < up), g, 1.0)) * (v - n)),
    ("interval_guidance", careless(checks_17.window())),
    ("dropped", lambda words, *rest: checks_17.in_place(words.clone(), *rest)),
    ("dropped", checks_17.drop(lambda n, share, gen: torch.bernoulli(torch.full((n, 1), share), generator=gen).bool())),
    ("paper_weight", 2),
    ("paper_weight", torch.tensor([2])),
    ("jensen_shannon", loop_js),
    ("jensen_shannon", lambda p, q: (checks_06.to_mean(p, q) + checks_06.to_mean(q, p)).float()[None] / 2),
    ("two_losses", cross_entropies),
    ("two_losses", lambda real, fake: list(cross_entropies(real.double(), fake.double()))),
    ("drifted", loop_drift),
    ("drifted", lambda x, p, q, h: checks_06.drifted.reference(x, p, q, h).numpy()),
    ("drifted", careless(checks_06.drifted.reference)),
    ("mended_generator", lambda v: F.binary_cross_entropy_with_logits(v, torch.ones_like(v))),
    ("derivatives", [5, -0.8]),
    ("derivatives", torch.tensor([5.0, -0.8])),
    ("at_rest", (1.386, 0.693)),
    ("at_rest", [-2 * math.log(0.5), -math.log(0.5)]),
    ("two_losses", lambda real, fake: torch.stack(checks_06.two_losses.reference(real, fake))),
    ("two_losses", lambda real, fake: (-F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean(), torch.logaddexp(-fake, torch.zeros(())).mean())),
    ("mended_generator", lambda v: -F.logsigmoid(v).mean()),
    ("least_loss", lambda g: torch.tensor(-0.5) * math.log1p(-math.exp(-g))),
    ("least_loss", lambda g: -torch.log(1 - torch.exp(-g)) / 2),
    ("least_loss", lambda g: -0.5 * math.log(1 - math.e**-g)),
    ("merge_pair", lambda p, q: tuple(checks_10.merged(p, q))),
    ("merge_pair", lambda p, q: (part for part in checks_10.merged(p, q))),
    ("merge_pair", lambda p, q: np.array(checks_10.merged(p, q))),
    ("sampling_loss", lambda c, n, k: (checks_10.sampling()(c, n, k),)),
    ("sampling_loss", lambda c, n, k: (F.softplus(-(n * c).sum(1)) + F.softplus(torch.einsum("bkd,bd->bk", k, c)).sum(1)).mean()),
    ("best_scores", lambda n, k, a: (n / n.sum(1, keepdim=True) / (n.sum(0) ** a / (n.sum(0) ** a).sum())).log() - math.log(k)),
    ("best_scores", lambda n, k, a: checks_10.optimum()(n, k, a).numpy()),
    ("picture_head", lambda x: 2 * torch.sigmoid(x) - 1),
    ("picture_head", F.softsign),
    ("steady_pair", lambda counts: list(sorted(counts, key=lambda pair: (-counts[pair], pair))[0])),
    ("perplexities", loop_perplexities),
    ("perplexities", lambda log_p, there, n: np.exp([-log_p.numpy()[there.numpy()].sum() / m for m in (int(there.sum()), n)])),
    ("nucleus", in_own_table),
    ("nucleus", from_the_least_likely),
    ("nucleus", lambda *given: checks_11.cut()(*given).tolist()),
    ("rotated", by_matrices),
    ("rotated", lambda x, at: checks_11.turned()(x.double(), at).numpy()),
    ("mixed", lambda x, q, k, v: F.scaled_dot_product_attention(x @ q, x @ k, x @ v, is_causal=True)),
    ("mixed", place_by_place),
    ("mixed", checks_11.causal(soften=lambda s, m: (s + torch.full(m.shape, -1e9).triu(1)).softmax(-1))),
    ("shifted_loss", ignoring),
    ("shifted_loss", lambda model, tokens: [checks_11.loss_of()(model, tokens)]),
    ("mean_pool", lambda c, m: [row[there].mean(0) for row, there in zip(c, m, strict=True)]),
    ("mean_pool", lambda c, m: [row[: int(n)].mean(0).tolist() for row, n in zip(c, m.sum(1), strict=True)]),
    ("mean_pool", lambda c, m: np.stack([row[there].mean(0) for row, there in zip(c.numpy(), m.numpy(), strict=True)])),
    ("mean_pool", lambda c, m: torch.einsum("btc,bt->bc", c.float(), m.float()) / m.sum(1, keepdim=True)),
    ("mean_pool", lambda c, m: torch.where(m[..., None], c, torch.nan).nanmean(1)),
    ("mean_pool", careless(checks_12.pooled())),
    ("nearest", lambda q, t: torch.cdist(F.normalize(q), F.normalize(t)).argmin(1)),
    ("nearest", lambda q, t: [int(F.cosine_similarity(one[None], t).argmax()) for one in q]),
    ("nearest", lambda q, t: (q.numpy() @ (t / t.norm(dim=1, keepdim=True)).numpy().T).argmax(1)),
    ("nearest", lambda q, t: torch.einsum("nc,mc->nm", q.float(), F.normalize(t.float())).topk(1).indices[:, 0]),
    ("cache_hits", ordered_hits),
    ("cache_hits", library_hits),
    ("drawn_and_labelled", one_by_one),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: (g(noise, m(tokens)).float(), c(g(noise, m(tokens))).softmax(1).topk(1).indices[:, 0])),
    ("drawn_and_labelled", careless(checks_12.path())),
    ("last_state", lambda c, m: [row[there][-1] for row, there in zip(c, m, strict=True)]),
    ("last_state", lambda c, m: c.gather(1, (m.sum(1) - 1)[:, None, None].expand(-1, 1, c.shape[2]))[:, 0]),
    ("last_state", lambda c, m: np.array([row[int(n) - 1].tolist() for row, n in zip(c, m.sum(1), strict=True)])),
    ("last_state", lambda c, m: torch.einsum("btc,bt->bc", c, (m.cumsum(1) * m == m.sum(1, keepdim=True)).double())),
    ("recall_at_k", lambda s, k: sum(int((row >= row[i]).sum()) <= k for i, row in enumerate(s)) / len(s)),
    ("recall_at_k", lambda s, k: np.mean([k >= int((row >= row[i]).sum()) for i, row in enumerate(s.numpy())])),
    ("both_ways", lambda a, b, s: -((s * a @ b.T).log_softmax(1) + (s * a @ b.T).log_softmax(0)).diagonal().mean() / 2),
    ("both_ways", lambda a, b, s: sum(F.cross_entropy(s * x @ y.T, torch.eye(len(x))) for x, y in ((a, b), (b, a))) / 2),
    ("both_ways", lambda a, b, s: (checks_13.symmetric()(a, b, s),)),
    ("both_ways", lambda a, b, s: (checks_13.symmetric()(a, b, s) + checks_13.symmetric()(b, a, s)) / 2),
    ("both_ways", lambda a, b, s: checks_13.symmetric()(F.normalize(a), F.normalize(b), s)),
    ("sigmoid_loss", lambda a, b, s, bias: F.binary_cross_entropy_with_logits(s * a @ b.T + bias, torch.eye(len(a)).double(), reduction="sum") / len(a)),
    ("sigmoid_loss", lambda a, b, s, bias: F.binary_cross_entropy_with_logits(s * a @ b.T + bias, torch.eye(len(a)), reduction="sum") / len(a)),
    ("sigmoid_loss", lambda a, b, s, bias: checks_13.pairwise()(b, a, s, bias)),
    ("mended_duplicates", left_out_of_the_sums),
    ("mended_duplicates", checks_13.masked(with_value=-1e9)),
    ("mended_duplicates", careless(checks_13.masked())),
    ("block_operations", lambda n, d: [np.float64(4 * d * n * (6 * d + n))]),
    ("faster", lambda a, b: (np.median(np.array(a) / np.array(b)), (np.array(a) <= np.array(b)).sum())),
    ("faster", lambda a, b: torch.tensor([(torch.tensor(a) / torch.tensor(b)).quantile(0.5), sum(map(float.__le__, a, b))])),
    ("floor", by_place),
    ("floor", lambda *given: [torch.tensor(checks_19.least()(*given)[0]), checks_19.least()(*given)[1]]),
    ("speedup", lambda s, p: np.sum([*s.values()]) / np.sum([share / p.get(name, 1) for name, share in s.items()])),
    ("timer", checks_19.clocked(summary=lambda times: torch.tensor(times).quantile(0.5))),
    ("timer", first_left_out),
    ("paid_off", lambda c, e, k: float("inf") if k >= e else -(-c // ((e - k) / 1000))),
    ("paid_off", lambda c, e, k: np.inf if e <= k else np.ceil(c / (e / 1000 - k / 1000))),
    ("guided_once", lambda model, x, t, text, empty, g: (1 - g) * (out := model(x.repeat(2, 1), t.repeat(2), torch.cat([text, empty])))[len(x) :] + g * out[: len(x)]),
    ("guided_once", lambda *given: checks_20.one_pass()(*given).numpy()),
    ("blockwise", query_by_query),
    ("blockwise", by_logsumexp),
    ("blockwise", largest_first),
    ("least_padding", table_of_shapes),
    ("master_weights", lambda w, gradient, rate, steps: functools.reduce(lambda w, _: w - rate * gradient(w.bfloat16()), range(steps), w)),
    ("compiled_once", lambda compiler, model, batches: compiler(model)(torch.cat(batches)).split([*map(len, batches)])),
    ("compiled_once", zeros_in_front),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), ALSO_RIGHT)
def test_other_forms_are_right_too_and_the_reader_s_randomness_stays(name: str, answer: Any) -> None:
    before = torch.get_rng_state()
    assert CHECKS[name](answer).startswith("right.")
    assert torch.equal(torch.get_rng_state(), before)


SAID = [
    ("bits_per_pixel", lambda p, n, s: 7.0, "not yet. For log_density = -12.8, pixels = 64, step = 0.125, it should be 3.2885; yours is 7.0000."),
    ("bits_per_pixel", lambda p, n, s: 3.2885, "nearly. For log_density = 21"),
    ("bits_per_pixel", lambda p, n, s: "three", "The answer is one number; yours is 'three'."),
    ("bits_per_pixel", lambda p, n, s: 1 / 0, "not yet. Your function stops with ZeroDivisionError: division by zero."),
    ("bits_per_pixel", 3.2, "not yet. The answer is a function; this is 3.2."),
    ("importance_bound", lambda w: checks_04.shifted(w, w[-1]), "nearly. It looks as if exp() gives inf"),
    ("importance_bound", lambda w: checks_04.shifted(w, w.mean(0)), "nearly. It looks as if exp() gives inf"),
    ("importance_bound", lambda w: w, "The answer should have the shape (3,); yours has the shape (4, 3)."),
    ("rates", lambda v, s, b: 0 * v, "the number at [0] should be 0.5697; yours is 0.0000."),
    ("mended_loss", lambda *_: "low", "The answer is one number; yours is 'low'."),
    ("mended_loss", lambda *given: checks_04.vae_loss()(*given).detach(), "no gradient comes through"),
    ("mended_loss", torch.no_grad()(checks_04.vae_loss()), "no gradient comes through"),
    ("mended_loss", checks_04.vae_loss(lambda m, v, e: m + (0.5 * v).exp() * torch.randn(e.shape)), "the noise is drawn anew"),
    ("reached", 11.7, "this is a percentage"),
    ("to_velocity", lambda e, x, t: (x - e) / checks_16.high(t).clamp_min(0.05), "nearly. It looks as if t is held at 0.05 or more"),
    ("heun_step", three_evaluations, "The place is right, but the velocity is asked 3 times"),
    ("heun_step", overwriting, "It changes the x that it was given"),
    ("mixture_answer", lambda x, t, means, *_: x - t * means, "x[:, None] - t * means is (N, M, D)"),
    ("mended_noising", cumulated, "nearly. It looks as if [k - 1] of cumprod"),
    ("noise_deviation", lambda t, s: 1 - t, "not yet. It looks as if this is 1 - t, the covariance"),
    ("noise_deviation", lambda t, s: torch.sqrt(1 - t), "not yet. It looks as if this is √(1 - t)"),
    ("guided_velocity", lambda model, x, t, text, null, g: checks_17.guide(model(x, t, null), model(x, t, text), g), "nearly. The numbers are right, but one call"),
    ("guided_velocity", checks_17.guided(double_t=lambda t: t), "ValueError: the model got 6 pictures, t of the shape (3,)"),
    ("dropped", lambda words, *_: words, "not yet. No row is replaced."),
    ("dropped", checks_17.drop(lambda n, share, gen: torch.rand(n, 1, generator=gen) < share**2), "With share 0.5 it replaces 25% of the rows."),
    ("dropped", checks_17.drop(lambda n, share, gen: torch.rand(n, 1, generator=gen) < max(share, 0.03)), "nearly. With share 0 it replaces"),
    ("dropped", lambda words, *_: words.float(), "Return tokens like words"),
    ("dropped", checks_17.drop(lambda n, share, gen: torch.rand(n, generator=gen) < share), "One chance for each row has the shape (B, 1)"),
    ("paper_weight", 5, "With w = 5 the paper has 6 v_text and -5 v_null"),
    ("paper_weight", "two", "The answer is one number; yours is 'two'."),
    ("jensen_shannon", lambda p, q: p - q, "The answer should be one number"),
    ("jensen_shannon", lambda p, q: 0.1, "not yet. For p = [0.3125, 0.1875, 0.125, 0.375]"),
    ("two_losses", lambda real, fake: fake.mean(), "The answer has 2 parts"),
    ("two_losses", lambda real, fake: (1.0, None), "not done yet. Return the pair"),
    ("two_losses", lambda real, fake: tuple(one.item() for one in cross_entropies(real, fake)), "no gradient comes through the discriminator's loss"),
    ("two_losses", lambda real, fake: (cross_entropies(real, fake)[0], cross_entropies(real, fake)[1].item()), "no gradient comes through the generator's loss"),
    ("two_losses", lambda real, fake: cross_entropies(real, fake.detach()), "the discriminator's loss should have a gradient in the fake logits, and has none"),
    ("two_losses", lambda real, fake: (cross_entropies(real, fake)[0], F.softplus(-fake.detach()).mean()), "no gradient comes through the generator's loss"),
    ("two_losses", lambda real, fake: cross_entropies(real.detach(), fake), "the discriminator's loss should have a gradient in the real logits, and has none"),
    ("two_losses", lambda real, fake: (cross_entropies(real, fake)[0], torch.where(fake < -50, -fake, -fake.sigmoid().log()).mean()), "nearly. The numbers are right, but the generator's loss should have a gradient in the fake logits, and has a wrong one"),
    ("two_losses", checks_06.losses(*(lambda v, s=s: -((s * v).sigmoid() + 1e-8).log() for s in (1, -1, 1))), "nearly. Far out the loss is cut off"),
    ("two_losses", checks_06.losses(*(lambda v, s=s: -(s * v).sigmoid().clamp(1e-7, 1 - 1e-7).log() for s in (1, -1, 1))), "nearly. Far out the loss is cut off"),
    ("two_losses", checks_06.losses(*(lambda v, one=one: F.binary_cross_entropy(v.sigmoid(), one + 0 * v) for one in (1, 0, 1))), "nearly. Far out the loss is cut off"),
    ("drifted", lambda x, p, q, h: (p - x).mean(0), "stops with RuntimeError"),
    ("drifted", lambda x, p, q, h: x.mean(0), "The answer should have the shape (4, 2)"),
    ("mended_generator", lambda v: F.softplus(-v).mean().item(), "No gradient comes through"),
    ("mended_generator", lambda v: F.softplus(-v.detach()).mean(), "No gradient comes through"),
    ("mended_generator", lambda v: F.binary_cross_entropy(v.sigmoid(), torch.ones_like(v)), "nearly. Far out the loss is cut off"),
    ("mended_generator", lambda v: -(v.sigmoid() + 1e-8).log().mean(), "nearly. Far out the loss is cut off"),
    ("mended_generator", lambda v: (1 + (-v).exp()).log().mean(), "nearly. It looks as if it overflows"),
    ("derivatives", 5.0, "The answer is a pair of numbers; this is 5.0."),
    ("derivatives", (1.0, 2.0), "For the first let autograd tell"),
    ("derivatives", (1.0, -0.8), "(); d.grad. The second is right."),
    ("derivatives", (5.0, 2.0), "not yet. The first is right. For the second, by l:"),
    ("at_rest", (1, 2, 3), "this has 3"),
    ("at_rest", (1.0, 1.0), "At rest D(x) = D(G(z)) = 1/2"),
    ("merge_pair", lambda p, q: "".join(p), "it should be ['b', 'aa'"),
    ("merge_pair", lambda p, q: p[0] + q[9], "stops with IndexError"),
    ("merge_pair", lambda p, q: ["".join(q) if (p[i], p[i + 1]) == q else p[i] for i in range(len(p))], "Behind the last part there is no parts[i + 1]"),
    ("merge_pair", lambda p, q: set(p), "it should be ['b', 'aa'"),
    ("sampling_loss", torch.no_grad()(checks_10.sampling()), "nearly. It looks as if no gradient comes through"),
    ("sampling_loss", checks_10.sampling(lambda s: -(1 / (1 + (-s).exp())).log()), "nearly."),
    ("best_scores", lambda n, k, a: n.sum(), "should have the shape (3, 3)"),
    ("picture_head", lambda x: x.mean(), "Return pictures like the outputs, a tensor (2, 3, 4, 4)"),
    ("picture_head", lambda x: x.detach().tanh(), "No gradient comes through"),
    ("picture_head", lambda x: np.tanh(x.detach().numpy()), "this is a ndarray."),
    ("picture_head", lambda x: (127 * x.tanh()).byte(), "this is a tensor (2, 3, 4, 4) of torch.uint8."),
    ("picture_head", torch.sin, "not yet. It looks as if a larger output is not always brighter"),
    ("steady_pair", lambda counts: sorted(counts.items(), key=lambda item: (-item[1], item[0]))[0], "this is a pair with its count"),
    ("steady_pair", lambda counts: min(counts, key=lambda pair: (-counts[pair], "".join(pair))), "nearly. It looks as if the two parts are joined"),
    ("perplexities", lambda log_p, there, n: (-log_p[there].mean()).exp(), "The answer has 2 parts"),
    ("nucleus", lambda logits, t, p: torch.multinomial((logits / t).softmax(-1), 1), "should have the shape (7,)"),
    ("mixed", lambda x, q, k, v: F.scaled_dot_product_attention(x @ q, x @ k, x @ v), "the mask is missing"),
    ("shifted_loss", lambda model, tokens: checks_11.loss_of()(model, tokens).detach().numpy(), "no gradient comes through"),
    ("shifted_loss", lambda model, tokens: (checks_11.loss_of()(model, tokens), {}), "The answer is one number"),
    ("picture_head", lambda x: 0.5 * x.tanh(), "no output gives black"),
    ("steady_pair", lambda counts: "ab", "Return a pair of texts, a key of `counts`; yours, ab,"),
    ("mean_pool", lambda c, m: torch.einsum("btc,bt->bc", c, m), "mask holds True and False"),
    ("mean_pool", lambda c, m: (c * m).sum(1), "mask[..., None] is (B, T, 1)"),
    ("mean_pool", lambda c, m: (c * m[..., None]).sum(0) / len(c), "should have the shape (3, 4); yours has the shape (5, 4)"),
    ("mean_pool", lambda c, m: [row[there] for row, there in zip(c, m, strict=True)], "not yet. The answer is a tensor of numbers; yours is a list."),
    ("mean_pool", lambda c, m: c.mean(1), "not yet. It looks as if padding is counted, too: the mask is not used"),
    ("nearest", lambda q, t: F.normalize(q) @ t, "a row for each query"),
    ("nearest", lambda q, t: (F.normalize(q) @ t.T).argmax(1), "not yet. It looks as if the rows of the table are not divided by their lengths"),
    ("nearest", lambda q, t: "the first", "The answer is a tensor of numbers; yours is 'the first'."),
    ("cache_hits", lambda requests, most: [True, False], "The answer should be one number"),
    ("cache_hits", lambda requests, most: library_hits(requests, most - 1), "there is room for one text fewer"),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: {"pictures": g(noise, m(tokens)), "classes": [0]}, "not yet. The answer has 2 parts; yours is a dict."),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: g(m(tokens)), "TypeError: generator() missing 1 required positional argument: 'vectors'."),
    ("drawn_and_labelled", hidden_behind, "not yet. The classifier got a tensor (5, 4) of int64; it takes pictures (B, 3, H, W)."),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: (g(noise, tokens), 0), "The generator got a tensor (5, 4) of int64 for a caption; it takes the language model's vectors"),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: (g(m(tokens), noise), 0), "The generator got a tensor (5, 7) of float64 first"),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: m(noise), "The language model got a tensor (5, 3, 6, 4) of float64; it takes tokens"),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: m(tokens.tolist()), "The language model got a list"),
    ("drawn_and_labelled", lambda tokens, noise, m, g, c: c(noise).view(3, 8, 8), "only the generator gives pictures"),
    ("last_state", lambda c, m: c[:, m.sum(1) - 1], "should have the shape (3, 4); yours has the shape (3, 3, 4)"),
    ("last_state", lambda c, m: c[m][-1], "should have the shape (3, 4); yours has the shape (4,)"),
    ("last_state", lambda c, m: c[torch.arange(2), m.sum(1) - 1], "The last of n tokens is number n - 1"),
    ("recall_at_k", lambda s, k: s > k, "The answer should be one number"),
    ("recall_at_k", lambda s, k: 0.5, "not yet. For scores = a tensor (31, 31), k = 6"),
    ("both_ways", lambda a, b, s: checks_13.symmetric()(a, b, s).item(), "should have a gradient in a, and has none"),
    ("both_ways", lambda a, b, s: checks_13.symmetric()(a, b.detach(), s), "should have a gradient in b, and has none"),
    ("both_ways", lambda a, b, s: checks_13.symmetric()(a.detach() + 0 * a, b, s), "should have a gradient in a, and has a wrong one"),
    ("both_ways", lambda a, b, s: s * a @ b.T, "The answer should be one number"),
    ("recall_at_k", lambda s, k: (s.topk(k).indices == torch.arange(len(s))[:, None]).any(1).double().mean(), "nearly. It looks as if the order of the columns decides among equal scores"),
    ("recall_at_k", lambda s, k: ((s >= s.diagonal()[:, None]).sum(1) <= k).mean(), "True and False become numbers with .double()"),
    ("both_ways", lambda a, b, s: s * a @ b, "a @ b.T is a table (B, B)"),
    ("sigmoid_loss", lambda a, b, s, bias: 0.0, "it should be"),
    ("sigmoid_loss", lambda a, b, s, bias: checks_13.pairwise()(a, b, s, bias).item(), "should have a gradient in a, and has none"),
    ("sigmoid_loss", lambda a, b, s, bias: checks_13.pairwise()(a, b.detach(), s, bias), "should have a gradient in b, and has none"),
    ("mended_duplicates", lambda logits, scenes: checks_13.masked()(logits.detach(), scenes), "should have a gradient in logits, and has none"),
    ("mended_duplicates", lambda logits, scenes: F.cross_entropy(logits, scenes), "the right class of row i is i"),
    ("mended_duplicates", lambda logits, scenes: logits, "The answer should be one number"),
    ("least_loss", lambda g: 1.0, "For loss_g = 0.1375, it should be 1.0260; yours is 1.0000."),
    ("block_operations", lambda n, d: 8e-6 * n, "not yet. For n = 16, d = 160, it should be 9994240; yours is 0.000128."),
    ("faster", lambda a, b: a / b, "stops with TypeError"),
    ("floor", lambda *given: checks_19.least()(*given)[0], "The answer has 2 parts"),
    ("timer", lambda device, job, repeats: job(), "The job is called here; `device.launch(job)` leaves that to the device."),
    ("timer", own_clock, "Read the time with `device.clock()`"),
    ("paid_off", lambda c, e, k: math.ceil(1000 * c / (e - k)) if k < e else None, "nearly. For compile_s = 12, plain_ms = 50, compiled_ms = 55, nothing is returned."),
    ("guided_once", lambda model, x, t, text, empty, g: model(x, t, empty) + g * (model(x, t, text) - model(x, t, empty)), "The model is called 3 times"),
    ("guided_once", lambda model, x, t, text, empty, g: model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty, text])).chunk(2), "Return one tensor"),
    ("guided_once", lambda model, x, t, text, empty, g: model(torch.cat([x, x]), t, torch.cat([empty, text])), "go in with 2 B rows each"),
    ("blockwise", checks_20.whole_table, "nearly. The whole table of scores is made"),
    ("blockwise", lambda q, k, y, size: checks_20.in_blocks()(q, k, y, len(k) // size), "nearly. A tensor of 384 numbers is made; the scores of `size` keys are 96."),
    ("blockwise", lambda *given: checks_20.in_blocks()(*given).tolist(), "Return a tensor (Q, V), computed with torch"),
    ("master_weights", lambda *given: checks_20.descent()(*given).tolist(), "Return the weights, a tensor like w"),
    ("master_weights", lambda *given: checks_20.descent()(*given).double(), "Return the weights in fp32; yours are torch.float64."),
    ("master_weights", checks_20.descent(computed=torch.float16), "weights of the type torch.float16; give it bfloat16"),
    ("master_weights", lambda w, gradient, rate, steps: w - gradient(w.bfloat16()), "The number formats are right, and the weights are not"),
    ("compiled_once", lambda *given: [one.numpy() for one in checks_20.drawing()(*given)], "list of ndarray"),
    ("compiled_once", lambda *given: checks_20.drawing()(*given)[:1], "not yet. 3 batches went in, and 1 came out."),
    ("compiled_once", lambda compiler, model, batches: [F.pad(x, (0, 1)) for x in batches], "What comes out has another shape"),
    ("compiled_once", lambda compiler, model, batches: list(map(model, batches)), "0 programs were compiled"),
    ("compiled_once", lambda *given: checks_20.drawing()(*given)[::-1], "does a batch get back the rows that it gave?"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "words"), SAID)
def test_what_is_said_of_other_wrong_answers(name: str, answer: Any, words: str) -> None:
    assert words in CHECKS[name](answer)


# ------------------------------------------------------------------------------------- lesson 00: answers in words

STRIPED_STAR = Scene((Thing(None, "striped", "green", "star"),), place="top right", background="black")
HOLDS = {"sure": 1.0, "never": 0.0, "now and then": 0.25}
SHOWN = [number not in (3, 11) for number in range(1, 17)]
READINGS = [f"scene {number}" for number in range(1, 17)]


def prompted(prompt: Any) -> str:
    return checks.says(prompt, STRIPED_STAR, parse)


def answered(*answers: Any) -> str:
    return checks.decided(dict(zip(HOLDS, answers, strict=True)), HOLDS)


def listed(marked: Any) -> str:
    return checks.marked_wrong(marked, SHOWN, READINGS)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (prompted("a striped green star in the top right corner on a black background"), "right. It says what was asked"),
        (prompted("黑色背景的右上角有一个绿色的条纹五角星"), "right."),
        (prompted(""), "not done yet. Write a sentence"),
        (prompted(...), "not done yet."),
        (prompted(7), "not yet. A prompt is text in quotes; this is 7."),
        (prompted("a striped green pentagram in the top right corner"), "pentagram"),
        (prompted("a striped green star in the top right corner"), "not yet. The background is left open; it should be black."),
        (prompted("a large striped green star at the top right on a black background"), "It says the size (large)"),
        (prompted("a striped red star at the top right on a black background"), "The colour is red; it should be green."),
        (prompted("two striped green stars on a black background"), "It speaks of 2 things, and one thing"),
        (prompted("a green star"), "The place is left open; it should be top right. The background is left open"),
        (answered("yes", "no", "open"), "right. All 3"),
        (answered(None, None, None), "not done yet. 3 of 3 statements have no answer."),
        (answered("yes", None, None), "not done yet. 2 of 3"),
        (answered("Yes!", "no", "open"), "'Yes!'; write"),
        (answered(["yes"], "no", "open"), "is ['yes']; write"),
        (answered("open", "no", "open"), "2 of 3 are right. “sure” is not 'open': the words decide it"),
        (answered("yes", "yes", "open"), "“never” is not 'yes': the words rule it out"),
        (answered("yes", "no", "no"), "“now and then” is not 'no': the words leave it open: it is so in 25%"),
        (checks.decided(["yes"], HOLDS), "not yet. Keep the dictionary"),
        (checks.decided({"sure": "yes"}, HOLDS), "not yet. Keep the dictionary"),
        (listed([11, 3]), "right. You and the judge agree on 16 of 16."),
        (listed({3}), "right. You and the judge agree on 15 of 16. It reads number 11 as scene 11."),
        (listed(None), "not done yet. List the numbers"),
        (listed(2), "2 is a count"),
        (listed(2.5), "whole numbers from 1 to 16"),
        (listed(["three"]), "whole numbers from 1 to 16"),
        (listed([0, 3]), "numbered from 1 to 16; there is no number 0"),
        (listed([17]), "no number 17"),
        (listed([n for n in range(1, 17) if n not in (3, 11)]), "listed the pictures that are right"),
        (listed([1, 2, 3, 4, 5]), "agree on 11 of 16: look again at 1, 2, 4, 5, 11. It reads number 1 as scene 1."),
    ],
)  # fmt: skip
def test_answers_in_words(said: str, words: str) -> None:
    assert words in said


@pytest.mark.parametrize("path", sorted(run.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_stored_checks_say_not_done_to_the_stub_and_right_to_the_solution(path: Path) -> None:
    for tag, expected in (("check", ": not done yet"), ("solution", ": right.")):
        for cell in code_cells(read(path)):
            if tag in tags(cell):
                printed = "".join(text(output.get("text", "")) for output in cell["outputs"])
                assert expected in printed, f"a cell tagged {tag} printed {printed!r}"
