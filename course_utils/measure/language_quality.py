"""How good is a language model of captions? How surprised it is by captions that it has not read, and what it writes itself.

Beside it stand models that only count, on the same captions: blind guessing, and n-grams of as many captions as it has read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError
from course_utils.counters import Dice
from course_utils.language.ngrams import Counts
from course_utils.language.tokenizer import Tokenizer
from course_utils.language.words import language_of
from course_utils.measure.intervals import bootstrap, paired_bootstrap, wilson
from course_utils.models.gpt import BEGIN, GPT, sample, surprise

NGRAMS = {"unigram": 1, "bigram": 2, "trigram": 3}
KAPPAS = (0.3, 1, 3, 10, 30, 100, 300)  # strengths of smoothing that are tried
CAREFUL: dict[str, dict[str, float]] = {"temperature 0.7": {"temperature": 0.7}, "top_p 0.9": {"top_p": 0.9}}
BATCH = 100  # captions read or written at a time
ROUNDS = 1_000  # of a bootstrap


def measure_language(
    model: GPT,
    tokenizer: Tokenizer,
    parse: Callable[[str], Any],
    learned: Sequence[str],
    choosing: Sequence[str],
    held_out: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Perplexity and bits per character of the captions `held_out`, and how many of as many captions written by the model can be read.

    parse: the world's reader, which raises CourseError for what makes no sense. learned: what the model was trained on, which the
    n-grams count; choosing: other captions, for their smoothing. Perplexities are per token and end, intervals draw captions anew
    (bootstrap), those of shares are Wilson's. `parses` and `copied` are shares of what is written at temperature 1: it makes sense; it
    stands word for word in `learned`. With `_trigram` or `_held_out` behind them they are of what the trigram writes and of the real
    captions; under `careful` of what the model writes with a lower temperature or without the unlikely tokens. A text with a Chinese
    sign counts as Chinese.
    """
    longest = model.config.longest - 1  # BEGIN takes a place
    encoded = lambda texts: [tokenizer.encode(text)[:longest] for text in texts]  # noqa: E731
    rows = encoded(held_out)
    counts = Counts(encoded(learned), len(tokenizer), max(NGRAMS.values()))
    tokens = torch.tensor([len(row) + 1.0 for row in rows], dtype=torch.float64)  # and the end
    characters = torch.tensor([len(tokenizer.decode(row)) + 1.0 for row in rows], dtype=torch.float64)

    kappas = {name: smoothing(counts, n, encoded(choosing)) for name, n in NGRAMS.items()}
    nats = {"": nats_of(model, tokenizer, held_out), "uniform": tokens * math.log(len(tokenizer))}
    for name, n in NGRAMS.items():
        nats[name] = torch.tensor([counts.surprise(row, n, kappas[name]) for row in rows], dtype=torch.float64)

    found: dict[str, Any] = {"captions": len(held_out), "learned_from": len(learned), "intervals": {}}
    for name, of in nats.items():
        behind(found, name, surprised(of, tokens, characters))
    gain, *interval = paired_bootstrap((nats["trigram"] / tokens).tolist(), (nats[""] / tokens).tolist())
    behind(found, "", {"nats_below_trigram": gain, "intervals": {"nats_below_trigram": interval}})

    whole = lambda texts: [tokenizer.decode(tokenizer.encode(text)) for text in texts]  # noqa: E731  # as the model would write them
    known = set(whole(learned))
    ours = written(model, tokenizer, len(held_out), seed)
    dice = [Dice(seed, salt=i) for i in range(len(held_out))]
    theirs = [tokenizer.decode(counts.write(3, kappas["trigram"], longest, one)) for one in dice]
    for name, texts in (("", ours), ("trigram", theirs), ("held_out", whole(held_out))):
        behind(found, name, judged(texts, parse, known))

    found["languages"] = {}
    for language in sorted({language_of(text) for text in held_out}):
        here = torch.tensor([language_of(text) == language for text in held_out])
        part = surprised(nats[""][here], tokens[here], characters[here])
        texts = [text for text in ours if language_of(text) == language]
        behind(part, "", judged(texts, parse, known))
        found["languages"][language] = {"captions": int(here.sum()), "written": len(texts), **part}
    found["careful"] = {
        name: judged(written(model, tokenizer, len(held_out), seed, **how), parse, known)
        for name, how in CAREFUL.items()
    }
    found["smoothing"] = kappas
    found["refused"] = [text for text in ours if not makes_sense(text, parse)][:5]
    return found


def smoothing(counts: Counts, n: int, rows: Sequence[Sequence[int]]) -> float:
    """The kappa of KAPPAS with which the model of n tokens is least surprised by these rows."""
    return min(KAPPAS, key=lambda kappa: sum(counts.surprise(row, n, kappa) for row in rows))


def behind(found: dict[str, Any], name: str, more: dict[str, Any]) -> None:
    """Adds numbers and their intervals to `found`, with `_name` behind what they are called."""
    end = f"_{name}" if name else ""
    intervals = {key + end: value for key, value in more["intervals"].items()}
    found |= {key + end: value for key, value in more.items() if key != "intervals"}
    found["intervals"] |= intervals


def surprised(nats: Tensor, tokens: Tensor, characters: Tensor) -> dict[str, Any]:
    """Perplexity per token and bits per character of captions: -log p, tokens and characters of each, ends included, all (N,)."""
    perplexity = lambda i: float((nats[i].sum() / tokens[i].sum()).exp())  # noqa: E731
    bits = lambda i: float(nats[i].sum() / characters[i].sum() / math.log(2))  # noqa: E731
    found = {"perplexity": perplexity, "bits_per_character": bits}
    everything = torch.arange(len(nats))
    intervals = {name: list(bootstrap(of, len(nats), ROUNDS)) for name, of in found.items()}
    return {**{name: of(everything) for name, of in found.items()}, "intervals": intervals}


def judged(texts: Sequence[str], parse: Callable[[str], Any], known: set[str]) -> dict[str, Any]:
    """Shares of texts: which make sense, which are known word for word, and how many different ones there are for each."""
    n = max(1, len(texts))
    right = {
        "parses": sum(makes_sense(text, parse) for text in texts),
        "copied": sum(text in known for text in texts),
    }
    shares = {name: count / n for name, count in right.items()}
    intervals = {name: list(wilson(count, len(texts))) for name, count in right.items()}
    return {**shares, "different": len(set(texts)) / n, "intervals": intervals}


def makes_sense(text: str, parse: Callable[[str], Any]) -> bool:
    """Whether the world's grammar reads a text."""
    try:
        parse(text)
    except CourseError:
        return False
    return True


@torch.no_grad()
def nats_of(model: GPT, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """-log p of each text and its end, (N,) float64 on the CPU."""
    device, found = next(model.parameters()).device, []
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer.batch(texts[start : start + BATCH], model.config.longest - 1)
        found.append(surprise(model, tokens.to(device))[0].double().sum(1).cpu())
    return torch.cat(found)


def written(model: GPT, tokenizer: Tokenizer, n: int, seed: int, **how: Any) -> list[str]:
    """n captions that the model writes; `how` as in `models.gpt.sample`."""
    device = next(model.parameters()).device
    random = torch.Generator(device).manual_seed(seed)
    texts: list[str] = []
    for start in range(0, n, BATCH):
        begin = torch.full((min(BATCH, n - start), 1), BEGIN, device=device)
        texts += map(tokenizer.decode, sample(model, begin, generator=random, **how).tolist())
    return texts
