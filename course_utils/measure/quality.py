"""The quality of a text-to-image generator in three numbers that belong together: caption accuracy, fidelity, diversity.

The rules that keep them honest: the judges take no part in training or sampling; one picture per prompt; the prompts come
from scenes of the `test` list; a picture of which a judge is unsure is wrong; every number has an interval. Judge A, which is
learned, reads all pictures; judge B, which is not, a sample of them, and where the two differ it is said.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_utils.generators import Generator
from course_utils.measure.fidelity import Features, frechet_distance, mean_pairwise_distance
from course_utils.measure.intervals import bootstrap, paired_bootstrap, wilson
from course_utils.measure.judge import Judge, Reading
from course_utils.measure.worlds import SHAPES, Measured

GROUPS = ("one_object", "two_objects", "three_objects", "natural", "held_out_combinations", "held_out_synonyms")
COUNTS = {"one_object": 1, "two_objects": 2, "three_objects": 3}


def groups_of(of: Measured) -> tuple[str, ...]:
    """The groups of prompts that there are in a world, or in the part of it that a generator has learned."""
    return tuple(group for group in GROUPS if COUNTS.get(group, of.counts[0]) in of.counts)


@dataclass(frozen=True)
class Prompt:
    """A prompt and the (partial) scene that it asks for."""

    text: str
    asked: Any


def prompts_of(group: str, n: int, seed: int | None = None, of: Measured = SHAPES) -> list[Prompt]:
    """n prompts of a group, English and Chinese in turns.

    one_object, two_objects, three_objects: everything is said. natural: one to three objects, things left out as people do.
    held_out_combinations: one or two objects, everything said, with what is never seen together in training: the first's
    colour and shape; in `emoji_scenes` a noun and its background, or two nouns in a relation. held_out_synonyms: one or two
    objects, everything said, with one word that no training caption contains. seed: the list of scenes (default: "test").
    """
    seed = of.seeds["test"] if seed is None else seed
    start = 1_000_000 * GROUPS.index(group)
    things = COUNTS.get(group)
    split = "held_out" if group == "held_out_combinations" else "train"
    found: list[Prompt] = []
    while len(found) < n:
        batch = of.scenes(seed, start, 4 * n, things=things, split=split)
        for i, scene in enumerate(batch.scenes, start):
            language = ("en", "zh")[len(found) % 2]
            count = len(scene.things)
            parts = of.random_parts(count, i) if group == "natural" else of.all_parts(count)
            if group.startswith("held_out") and count == 3:
                continue
            if group == "held_out_synonyms" and not of.has_held_out_synonym(scene, parts, language):
                continue
            synonyms = "held_out" if group == "held_out_synonyms" else "train"
            text = of.caption(scene, parts, language=language, seed=i, synonyms=synonyms)
            found.append(Prompt(text, of.restrict(scene, parts)))
            if len(found) == n:
                break
        start += 4 * n
    return found


def measure(
    generator: Generator,
    judge: Judge,
    features: Features | None = None,
    *,
    prompts: int = 500,
    groups: Collection[str] | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    test: int | None = None,
    fidelity_pictures: int = 2_000,
    second: Any = None,
    sample: int = 100,
    of: Measured = SHAPES,
) -> dict[str, Any]:
    """Caption accuracy for each group (fractions), fidelity and diversity, each with its 95 % interval; see `evaluate`.

    second: judge B, which reads the first `sample` pictures of each group; see `compare_judges`. test: the list of scenes
    from which prompts come (default: the world's "test"). groups: default: all that there are. Real pictures are drawn in the
    generator's size.
    """
    groups = [group for group in groups_of(of) if groups is None or group in groups]
    test = of.seeds["test"] if test is None else test
    result: dict[str, Any] = {"prompts": prompts}
    intervals: dict[str, Any] = {}
    right: dict[str, list[bool]] = {}
    by_attribute: dict[str, list[bool]] = {}
    counting: list[bool] = []
    sampled: dict[str, list[bool]] = {}
    seconds = drawn = 0.0
    for group in groups:
        asked = prompts_of(group, prompts, test, of)
        pictures = generator([p.text for p in asked], seed=seed, steps=steps, guidance=guidance)
        seconds, drawn = seconds + pictures.seconds, drawn + len(asked)
        readings = judge.read(pictures.images)
        right[group] = [reading.shows(p.asked) for reading, p in zip(readings, asked, strict=True)]
        if second is not None:
            again = second.read(pictures.images[:sample])
            sampled[group] = [reading.shows(p.asked) for reading, p in zip(again, asked, strict=False)]
        if group in COUNTS:
            for reading, p, good in zip(readings, asked, right[group], strict=True):
                for name, shown in shown_parts(reading, p.asked).items():
                    by_attribute.setdefault(name, []).append(shown)
                if len(p.asked.things) > 1 and len(set(p.asked.things)) == 1:
                    counting.append(good)
    full = [x for group in groups if group in COUNTS for x in right[group]]
    rows = {"all": full, **right}
    for name, values in rows.items():
        if values:
            result[name] = sum(values) / len(values)
            intervals[name] = wilson(sum(values), len(values))
    by_attribute["counting"] = counting
    result["attributes"] = {name: sum(v) / len(v) for name, v in by_attribute.items() if v}
    intervals["attributes"] = {name: wilson(sum(v), len(v)) for name, v in by_attribute.items() if v}
    if second is not None:
        result["judge_b"] = {group: compare_judges(right[group], sampled[group]) for group in groups}
    if (net := getattr(generator, "autoencoder", None)) is not None:
        result["ceiling"] = {
            g: ceiling(net, judge, prompts_of(g, prompts, test, of), test, of, generator.side) for g in groups
        }
    if features is not None:
        distances, ranges = fidelity_of(generator, features, fidelity_pictures, steps, guidance, seed, test, of)
        result |= distances
        intervals |= ranges
        result["diversity"], intervals["diversity"] = diversity_of(
            generator, features, steps, guidance, seed, test, of=of
        )
    result["intervals"] = intervals
    result["seconds_per_picture"] = seconds / max(drawn, 1)
    return result


def shown_parts(reading: Reading, asked: Any) -> dict[str, bool]:
    """Whether a picture shows what was asked of each attribute, place, relation, background and number of things, each alone.

    What was not asked for is left out.
    """
    names = (*reading.of.attributes, "place", "relation", "background", "count")
    return {n: reading.shows(reading.of.only(n, asked)) for n in names if getattr(asked, n, "") is not None}


DIFFER = 0.03  # judges that differ by more are named


def compare_judges(a: Sequence[bool], b: Sequence[bool]) -> dict[str, Any]:
    """The verdicts of judge B on a sample, beside those of judge A on the same pictures, which begin `a`.

    a, b: shares called right; interval: Wilson's, of b; difference: a - b with its paired 95 % interval; differ: whether the
    shares lie more than DIFFER apart.
    """
    a = a[: len(b)]
    difference, low, high = paired_bootstrap([float(v) for v in a], [float(v) for v in b])
    return {
        "pictures": len(b),
        "a": sum(a) / len(a),
        "b": sum(b) / len(b),
        "interval": wilson(sum(b), len(b)),
        "difference": [difference, low, high],
        "differ": abs(difference) > DIFFER,
    }


def ceiling(
    autoencoder: torch.nn.Module,
    judge: Judge,
    asked: Sequence[Prompt],
    seed: int | None = None,
    of: Measured = SHAPES,
    side: int = 32,
) -> float:
    """The share of real pictures of this side that the judge reads right after the round trip.

    No generator in these latents can do better.
    """
    seed = of.seeds["test"] if seed is None else seed
    real = torch.cat([of.render(of.fitting(p.asked, seed + i, 1), side) for i, p in enumerate(asked)])
    readings = judge.read(through(autoencoder, real))
    return sum(r.shows(p.asked) for r, p in zip(readings, asked, strict=True)) / len(asked)


def real_and_captions(n: int, start: int, test: int, of: Measured) -> tuple[Any, list[str]]:
    """n scenes of the training split's kind from the test list, and a complete caption of each."""
    batch = of.scenes(test, start, n, split="train")
    texts = [of.caption(s, language=("en", "zh")[i % 2], seed=start + i) for i, s in enumerate(batch.scenes)]
    return batch, texts


def fidelity_of(
    generator: Generator,
    features: Features,
    n: int,
    steps: int | None,
    guidance: float | None,
    seed: int,
    test: int,
    of: Measured = SHAPES,
) -> tuple[dict[str, float], dict[str, Any]]:
    """`distances` of n pictures drawn for captions of the test list."""
    ours, texts = real_and_captions(n, 10_000_000, test, of)
    other = of.scenes(test, 20_000_000, n, split="train")
    drawn = generator(texts, seed=seed, steps=steps, guidance=guidance).images
    real, real2 = (of.render(part, generator.side) for part in (ours, other))
    return distances(features, drawn, real, real2, getattr(generator, "autoencoder", None))


def distances(
    features: Features, drawn: Tensor, ours: Tensor, others: Tensor, autoencoder: torch.nn.Module | None = None
) -> tuple[dict[str, float], dict[str, Any]]:
    """Fréchet distances from real pictures `others`: of drawn ones; of `ours`, real ones with the captions that were drawn
    (the floor); and of these after the round trip, if there is an autoencoder.

    All are (N, 3, P, P) in [0, 1], equally many, as a distance falls with N. Returns the numbers by name and the
    95 % intervals of the first two.
    """
    real = features(others)
    rows = {"fidelity": features(drawn), "fidelity_floor": features(ours)}
    found = {name: frechet_distance(row, real) for name, row in rows.items()}
    distance = lambda of: lambda i: frechet_distance(of[i], real)  # noqa: E731
    intervals = {name: bootstrap(distance(row), len(real), 40, centre=found[name]) for name, row in rows.items()}
    if autoencoder is not None:
        found["fidelity_round_trip"] = frechet_distance(features(through(autoencoder, ours)), real)
    return found, intervals


@torch.inference_mode()
def through(autoencoder: torch.nn.Module, images: Tensor) -> Tensor:
    """Pictures in [0, 1] to latents and back, in batches, wherever the autoencoder lies; they come back to the CPU."""
    device = next(autoencoder.parameters()).device
    parts = [(autoencoder(part.to(device) * 2 - 1) / 2 + 0.5).cpu() for part in images.split(256)]
    return torch.cat(parts).clamp(0, 1)


def diversity_of(
    generator: Generator,
    features: Features,
    steps: int | None,
    guidance: float | None,
    seed: int,
    test: int,
    captions: int = 64,
    copies: int = 8,
    of: Measured = SHAPES,
) -> tuple[float, Any]:
    """Mean pairwise feature distance of pictures for one caption, over that of real scenes that fit it; and its interval."""
    asked = of.scenes(test, 30_000_000, captions, split="train").scenes
    texts = [of.caption(s, language=("en", "zh")[i % 2], seed=i) for i, s in enumerate(asked)]
    drawn = features(generator(texts, seed=seed, steps=steps, guidance=guidance, n=copies).images)
    real = torch.cat(
        [features(of.render(of.fitting(s, test + i, copies), generator.side)) for i, s in enumerate(asked)]
    )
    ours, theirs = (mean_pairwise_distance(f.unflatten(0, (captions, copies))) for f in (drawn, real))
    interval = bootstrap(lambda i: float(ours[i].mean() / theirs[i].mean()), captions, 400)
    return float(ours.mean() / theirs.mean()), interval
