"""`python -m course_utils evaluate NAME`: how good is a generator, a judge or a language model of captions, with intervals."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.common import CourseError, atomic_path, typed_path
from course_utils.generators.base import FAMILIES
from course_utils.worlds.captioned import LEAST, WORLDS

if TYPE_CHECKING:
    from torch import Tensor

    from course_utils.generators import Generator
    from course_utils.measure.judge import Judge
    from course_utils.measure.worlds import Measured

EXAMPLES = """examples:
  python -m course_utils evaluate flow-shapes --prompts 500 --json
  python -m course_utils evaluate judge --json
  python -m course_utils evaluate judge-emoji --json              both judges of the world emoji_scenes
  python -m course_utils evaluate gpt-captions --prompts 1000     perplexity, and how much of what it writes makes sense
  python -m course_utils evaluate judge --choose                  how sure it must be, from pictures labelled by eye
  python -m course_utils evaluate flow-shapes --choose            how much guidance, from the validation prompts
  python -m course_utils evaluate flow-shapes --prompts 200 --quick --steps 4 --guidance 1
  python -m course_utils evaluate flow-shapes --snapshots RUN --out curve.jsonl
  python -m course_utils evaluate flow-shapes-4 --beside flow-shapes --prompts 400    what a student loses of its teacher
  python -m course_utils evaluate flow-folder --path my_pictures  where there is no judge: distance from the pictures kept for it
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.epilog = EXAMPLES
    parser.allow_abbrev = False  # what was typed goes into the result
    parser.add_argument("name", help="weights: a shipped name or a folder")
    parser.add_argument(
        "--beside",
        metavar="TEACHER",
        help="what it loses of this teacher, at the same prompts and noise, beside controls that cost as much; --steps and "
        "--guidance are the student's; a run that was stopped goes on",
    )
    parser.add_argument("--path", type=typed_path, help="folder of the pictures that these weights were trained on")
    parser.add_argument(
        "--prompts",
        type=int,
        default=500,
        help="prompts of each group; captions that a language model reads, and that it writes (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        help="steps of the sampler (default: the card's); several with --beside, an entry each",
    )
    parser.add_argument("--guidance", type=float, help="guidance (default: the card's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise, or of what is written")
    parser.add_argument(
        "--validation", action="store_true", help="use the validation prompts: for choices, not for results"
    )
    parser.add_argument("--quick", action="store_true", help="caption accuracy of complete captions by judge A only")
    parser.add_argument(
        "--sample", type=int, help="pictures of each group that judge B reads, too (default: 100, with --beside 20)"
    )
    parser.add_argument(
        "--choose",
        action="store_true",
        help="set what the card leaves to be chosen: guidance of a generator (on the validation prompts), how sure the judge "
        "must be (on the labelled pictures of the half kept for that)",
    )
    parser.add_argument(
        "--snapshots", metavar="RUN", help="instead measure every snapshot of this training run, quickly"
    )
    parser.add_argument(
        "--out",
        type=typed_path,
        help="also write the result there (with --snapshots one line for each, with --beside an entry of a list)",
    )
    parser.add_argument("--restart", action="store_true", help="with --beside: forget the pictures that were kept")
    parser.add_argument("--update-card", action="store_true", help="write the result into the weights' card")
    parser.add_argument("--device", help='"cpu" or "cuda" (default: cuda if there is one)')
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON, last")


def main(args: argparse.Namespace) -> None:
    """Measures and prints."""
    from course_utils.commands import beside
    from course_utils.weights import read_card

    if args.prompts < 1:
        raise CourseError(f"--prompts is {args.prompts}; it must be at least 1.")
    beside.check(args)
    if len(args.steps or ()) > 1 and not args.beside:
        raise CourseError("Several numbers of --steps are compared with --beside TEACHER only; give one.")
    card = read_card(args.name)
    kind = card.get("kind")
    if kind not in ("judge", "gpt", *FAMILIES):
        raise CourseError(
            f"The weights {args.name!r} are of the kind {kind!r}; `evaluate` measures generators, judges and language models."
        )
    check(args, card)
    every = [argparse.Namespace(**{**vars(args), "steps": steps}) for steps in args.steps or [None]]
    if args.snapshots:
        rows = curve(every[0])
        print(json.dumps(rows[-1]) if args.json else f"measured {len(rows)} snapshots")
        return
    results = [result_of(one, card) for one in every]
    if args.json:
        print(json.dumps(results if len(results) > 1 else results[0], ensure_ascii=False))
    else:
        print("\n\n".join(map(beside.readable if args.beside else readable, results)))


def result_of(args: argparse.Namespace, card: dict[str, Any]) -> dict[str, Any]:
    """What is measured of the weights `args.name`, written where it was asked for."""
    from course_utils.commands import beside
    from course_utils.commands.cards import measured, typed
    from course_utils.loaded import watch_loaded
    from course_utils.measure.labels import files
    from course_utils.measure.worlds import MEASURED
    from course_utils.weights import read_card, weights_folder, write_card

    kind = card["kind"]
    with watch_loaded() as weights:
        if args.beside:
            result = beside.entry(args)
        elif kind == "judge":
            result = choose_certainty(args) if args.choose else judge_result(args)
        elif kind == "gpt":
            result = language_result(args, card)
        elif card.get("world", "shapes") not in MEASURED:
            result = fidelity_result(args, card)
        else:
            result = choose_guidance(args) if args.choose else generator_result(args)
    words = [Path(word).name if word == args.name else word for word in args.argv]
    labelled = files(card.get("world", "shapes"))[1:] if kind == "judge" else ()
    made = {"measured": measured(typed(words), weights, *labelled)}
    result = rounded({"name": Path(args.name).name, **result}) | made
    told = beside.joined(args.out, result) if args.beside else result
    write(args.out, json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    if args.update_card:
        write_card(weights_folder(args.name), {**read_card(args.name), "quality": result})
    return result


def check(args: argparse.Namespace, card: dict[str, Any]) -> None:
    """Raises CourseError for options that mean nothing for these weights, and where one is missing."""
    from course_utils.measure.worlds import MEASURED

    world = card.get("world", "shapes")
    kind = card.get("kind", "")
    for option in MEANINGLESS.get(kind, ()):
        if getattr(args, option) not in (None, False):
            raise CourseError(f"{args.name} draws no pictures; leave out --{option}.")
    if kind == "gpt" and world not in MEASURED:
        raise CourseError(
            f"{args.name} has read captions of the world {world}, and there are grammars to judge what it writes for "
            f"{' and '.join(MEASURED)} only; measure weights that were trained on one of them."
        )
    judged = ("choose", "snapshots", "quick", "sample", "validation")
    for option in judged if world not in MEASURED else ():
        if getattr(args, option) not in (None, False):
            raise CourseError(
                f"{args.name} draws pictures of the world {world}, and there are judges for {' and '.join(MEASURED)} only; "
                f"leave out --{option}."
            )
    if args.path is not None and "path" not in WORLDS.get(world, ("", ()))[1]:
        raise CourseError(f"The world {world} has no folder of pictures; leave out --path.")
    if args.path is None and world == "folder":
        raise CourseError(f"{args.name} was trained on a folder of pictures; name it, with --path my_pictures.")


MEANINGLESS = {  # kind of weights: options that only generators of pictures hear, or only generators and judges
    "judge": ("steps", "guidance", "snapshots"),
    "gpt": ("steps", "guidance", "snapshots", "choose", "quick", "sample"),
}


def generator_result(args: argparse.Namespace) -> dict[str, Any]:
    """Caption accuracy by group, fidelity, diversity, intervals, seconds."""
    from course_utils.generators import load
    from course_utils.measure.fidelity import Features
    from course_utils.measure.judge import Judge
    from course_utils.measure.quality import COUNTS, measure

    generator = load(args.name, args.device)
    sample = 100 if args.sample is None else args.sample
    of = learned(generator.card)
    found = measure(
        generator,
        Judge.load(of.judge),
        None if args.quick else Features.load(of.features),
        prompts=args.prompts,
        groups=COUNTS if args.quick else None,
        steps=args.steps,
        guidance=args.guidance,
        seed=args.seed,
        test=of.seeds["validation" if args.validation else "test"],
        second=None if args.quick or sample < 1 else judge_b(of.name),
        sample=sample,
        of=of,
    )
    return {"prompts": args.prompts, **sampler(generator, args), **found}


def learned(card: Mapping[str, Any]) -> Measured:
    """The world of a generator, as far as it was trained on it."""
    from course_utils.measure.worlds import measured

    return measured(card.get("world", "shapes"), card.get("split", "train"))


def sampler(generator: Generator, args: argparse.Namespace) -> dict[str, Any]:
    """Steps and guidance with which it draws."""
    return {
        name: getattr(generator, name) if (given := getattr(args, name)) is None else given
        for name in ("steps", "guidance")
    }


def fidelity_result(args: argparse.Namespace, card: dict[str, Any]) -> dict[str, Any]:
    """Fidelity in a world without a judge: how far drawn pictures lie from those that were kept out of training.

    Drawn are the captions of as many pictures that were trained on; these pictures themselves are the floor. Raises
    CourseError if the folder is not the one that the weights were trained on, or too few were kept.
    """
    import torch

    from course_utils.generators import load
    from course_utils.measure.fidelity import Features
    from course_utils.measure.quality import distances
    from course_utils.recipes.sources import about, opened, pictures

    generator = load(args.name, args.device)
    seen, kept = (opened(card["world"], split, args.path, generator.side) for split in ("train", "test"))
    here, *earlier = about(seen, generator.side), *(stage.get("data") or "" for stage in card.get("before", []))
    others = [data for data in earlier if f" pictures of {seen.name}, " in data and not data.startswith(here)]
    if others or not card.get("data", "").startswith(here):
        raise CourseError(
            f"{args.name}, or what it was built on, was trained on other pictures than {args.path or seen.name} holds now, so that nobody "
            "knows which it has not seen; name the folder as it was, or train again."
        )
    n = min(len(seen), len(kept), args.prompts)
    if n < LEAST:
        raise CourseError(f"A distance of {n} pictures tells nothing; ask for {LEAST} at least.")
    random = torch.Generator().manual_seed(args.seed)
    ours, theirs = (torch.randperm(len(part), generator=random)[:n] for part in (seen, kept))
    drawn = generator(seen.said(ours.tolist(), ours.tolist()), seed=args.seed, steps=args.steps, guidance=args.guidance)
    real, real2 = (pictures(part, rows, generator.side) / 255 for part, rows in ((seen, ours), (kept, theirs)))
    autoencoder = getattr(generator, "autoencoder", None)
    found, intervals = distances(Features.load(), drawn.images, real, real2, autoencoder)
    print(
        f"There is no judge for the world {card['world']}, so nothing here says how often a picture shows what was asked. fidelity: distance "
        f"of {n} pictures, drawn for captions that were trained on, from {n} of the {len(kept)} that were kept out of training; "
        f"fidelity_floor: of the {n} real pictures with those captions; mere copies of them would have it, too."
    )
    counts = {"pictures": n, "kept": len(kept), "trained_on": len(seen), **sampler(generator, args)}
    return {**counts, **found, "intervals": intervals, "seconds_per_picture": drawn.seconds / n}


def language_result(args: argparse.Namespace, card: dict[str, Any]) -> dict[str, Any]:
    """Perplexity on captions of the test split, which no training reads, and what is written; models that only count beside.

    These count the very captions that the model was trained on. Raises CourseError if the card does not say how many those are.
    """
    from course_utils.language.tokenizer import Tokenizer
    from course_utils.measure.language_quality import measure_language
    from course_utils.measure.worlds import measured
    from course_utils.models import load_model
    from course_utils.training.config import choose_device
    from course_utils.worlds.captioned import world

    told = re.match(r"([\d,]+) captions of (\w+), (\w+)$", card.get("data", ""))
    if told is None or told[3] != "train":
        raise CourseError(
            f"The card of {args.name} does not say that it was trained on so many captions of a whole world; give weights that "
            "`train gpt` has written, without --split."
        )
    model = load_model(args.name, "gpt").to(choose_device(args.device or "auto"))
    n, keep = args.prompts, int(told[1].replace(",", ""))
    said = lambda split, numbers: world(card["world"], split).said(numbers, numbers)  # noqa: E731
    return measure_language(
        model,
        Tokenizer(card["tokenizer"]),
        measured(card["world"]).parse,
        learned=said("train", range(keep)),
        choosing=said("validation", range(n, n + CHOOSING)),  # with --validation the first n are measured
        held_out=said("validation" if args.validation else "test", range(n)),
        seed=args.seed,
    )


CHOOSING = 200


def judge_b(world: str) -> Any:
    """The judge of this world that is not learned."""
    from course_utils.measure.emoji_synthesis import EmojiFitter
    from course_utils.measure.synthesis import SceneFitter

    return {"shapes": SceneFitter, "emoji_scenes": EmojiFitter}[world]()


def judge_result(args: argparse.Namespace) -> dict[str, Any]:
    """How the judge reads sharp scenes and damaged ones, and what it accepts of pictures that show none."""
    from course_utils.generators.flow import load_autoencoder
    from course_utils.measure.judge import Judge
    from course_utils.measure.judge_quality import measure_judge, measure_kindness
    from course_utils.worlds.scenes import SEEDS

    judge = Judge.load(args.name)
    if judge.of.name == "emoji_scenes":
        from course_utils.measure.emoji_quality import measure_reader

        test = judge.of.seeds["validation" if args.validation else "test"]
        many, each = (args.prompts, args.prompts) if args.quick else (2_000, 500)
        sample = 100 if args.sample is None else min(args.sample, 100)
        found = {"certain": judge.certain, "judge_a": measure_reader(judge, many, each, test)}
        if args.quick:
            return found
        other = measure_reader(judge_b(judge.of.name), sample, sample, test)
        return {**found, "judge_b": other, "labels": by_eye(judge, 20 * sample)}
    test = SEEDS["validation" if args.validation else "test"]
    n, each = (args.prompts, args.prompts) if args.quick else (5_000, 1_000)
    found = {
        "certain": judge.certain,
        **measure_judge(judge, n, test=test),
        "each": each,
        **measure_kindness(judge, each, load_autoencoder(), test),
    }
    return found if args.quick else {**found, "labels": by_eye(judge)}


def by_eye(judge: Judge, second: int | None = None) -> dict[str, Any]:
    """Both judges against the labelled pictures: those on which nothing was chosen ("report"), and the others ("choose").

    second: judge B reads the first so many (they lie in a shuffled order), or all.
    """
    from course_utils.measure.labels import HALVES, agreement, load_labels

    images, labels = load_labels(judge.of.name)
    found: dict[str, Any] = {}
    for name, reader, n in (("judge_a", judge, None), ("judge_b", judge_b(judge.of.name), second)):
        asked = [judge.of.parse(label.caption) for label in labels[:n]]
        shown = [reading.shows(scene) for reading, scene in zip(reader.read(images[:n]), asked, strict=True)]
        for half in HALVES:
            rows = [i for i, label in enumerate(labels[:n]) if label.half == half]
            found.setdefault(name, {})[half] = agreement([shown[i] for i in rows], [labels[i] for i in rows])
    return found


def choose_certainty(args: argparse.Namespace) -> dict[str, Any]:
    """How sure judge A must be, into the card: the strictest that is not plainly worse than the best and still reads sharp scenes.

    Best is what agrees most with the labelled half "choose"; plainly worse is more than one standard error below it (the rule of
    Breiman et al. 1984), as a judge that is too kind does more harm than one that is too strict; SHARP of fresh scenes must be read.
    """
    from course_utils.measure.judge import Judge
    from course_utils.measure.labels import load_labels
    from course_utils.weights import read_card, weights_folder, write_card

    judge = Judge.load(args.name)
    of, reader = judge.of, Judge(judge.network, 0.0, judge.of)
    images, labels = load_labels(of.name)
    rows = [i for i, label in enumerate(labels) if label.half == "choose" and label.answer != "doubtful"]

    def surely(pictures: Tensor, asked: Sequence[Any]) -> list[float]:
        found = zip(reader.read(pictures), asked, strict=True)
        return [r.certainty if r.scene is not None and of.matches(scene, r.scene) else -1.0 for r, scene in found]

    real = of.scenes(of.seeds["validation"], 0, 2_000)
    sharp = surely(of.render(real), real.scenes)
    sure = surely(images[rows], [of.parse(labels[i].caption) for i in rows])
    tried = [
        {
            "certain": k / 100,
            "sharp": sum(s >= k / 100 for s in sharp) / len(sharp),
            "agreement": sum((s >= k / 100) == (labels[i].answer == "right") for i, s in zip(rows, sure, strict=True))
            / len(rows),
        }
        for k in range(1, 100)
    ]
    best = max(row["agreement"] for row in tried)
    enough = best - math.sqrt(best * (1 - best) / len(rows))
    good = [row for row in tried if row["agreement"] >= enough and row["sharp"] >= SHARP]
    chosen = max(good or tried, key=lambda row: row["certain"] if good else row["agreement"])
    write_card(weights_folder(args.name), {**read_card(args.name), "certain": chosen["certain"]})
    return {**chosen, "pictures": len(rows), "best": best}


SHARP = 0.98


def choose_guidance(args: argparse.Namespace) -> dict[str, Any]:
    """The guidance with the highest caption accuracy on the validation prompts; of equals the least. Goes into the card."""
    from course_utils.generators import load
    from course_utils.measure.judge import Judge
    from course_utils.measure.quality import COUNTS, measure
    from course_utils.weights import read_card, weights_folder, write_card

    generator = load(args.name, args.device)
    of = learned(generator.card)
    judge = Judge.load(of.judge)
    tried = {
        guidance: measure(
            generator,
            judge,
            prompts=args.prompts,
            groups=COUNTS,
            steps=args.steps,
            guidance=guidance,
            seed=args.seed,
            test=of.seeds["validation"],
            of=of,
        )["all"]
        for guidance in GUIDANCES
    }
    guidance = max(tried, key=lambda g: (tried[g], -g))
    sampler = {**read_card(args.name).get("sampler", {}), "steps": args.steps or generator.steps, "guidance": guidance}
    write_card(weights_folder(args.name), {**read_card(args.name), "sampler": sampler})
    return {"guidance": guidance, "tried": {str(g): share for g, share in tried.items()}}


GUIDANCES = (1.0, 1.5, 2.0, 3.0, 4.0)


def curve(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Caption accuracy of each snapshot of a training run against images seen."""
    from course_utils.common import course_home
    from course_utils.generators import load
    from course_utils.measure.judge import Judge
    from course_utils.measure.quality import COUNTS, measure
    from course_utils.weights import read_card

    folders = sorted((course_home() / "runs" / args.snapshots / "snapshots").glob("*/card.json"))
    if not folders:
        raise CourseError(f"The run {args.snapshots!r} has no snapshots in COURSE_HOME/runs; train it first.")
    card, rows = read_card(folders[0].parent), []
    check(args, card)
    of = learned(card)
    judge = Judge.load(of.judge)
    for path in folders:
        generator = load(path.parent, args.device)
        found = measure(
            generator, judge, prompts=args.prompts, groups=COUNTS, steps=args.steps, guidance=args.guidance, of=of
        )
        seen = {"images": generator.card["images_seen"], "seconds": generator.card["seconds"]}
        rows.append(rounded({**seen, **{k: v for k, v in found.items() if k != "seconds_per_picture"}}))
        write(args.out, "".join(json.dumps(row) + "\n" for row in rows))  # before it is shown: nobody may be reading
        print(readable(rows[-1]))
    return rows


def rounded(value: Any) -> Any:
    """Floats with four digits behind the point: more would be noise."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def readable(result: dict[str, Any]) -> str:
    """The numbers as short text."""
    return "  ".join(f"{k} {v}" for k, v in result.items() if not isinstance(v, dict | list))


def write(path: Path | None, text: str) -> None:
    """Writes a results file, if one was asked for."""
    if path is not None:
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
