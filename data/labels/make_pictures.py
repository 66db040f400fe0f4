"""Makes the pictures that were labelled by eye: pictures.png, and labels.json with an empty answer for each.

    python data/labels/make_pictures.py               the first batch; refuses where there is one
    python data/labels/make_pictures.py more          appends the second batch: 40 round trips more and 50 drawn pictures
    python data/labels/make_pictures.py flow-other    appends 100 pictures by another generator (its name or folder)

What is there stays as it is, pictures and labels: only new ones are added, in an order that tells nothing of where they
come from. A picture by a generator can differ by a grey level on another machine, so labels go with these pictures
alone: labels.json holds the SHA-256 of each.
"""

import json
import random
import sys
from itertools import count, islice

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from course_utils.generators import load
from course_utils.generators.flow import load_autoencoder
from course_utils.measure.labels import files, load_labels, save_pictures
from course_utils.measure.quality import through
from course_utils.worlds.captions import caption, matches
from course_utils.worlds.render import render
from course_utils.worlds.scenes import (
    BACKGROUNDS,
    COLOURS,
    FILLS,
    PLACES,
    RELATIONS,
    SEEDS,
    SHAPES,
    SIZES,
    Scene,
    Scenes,
    scenes,
)  # fmt: skip

SEED = SEEDS["labels"]
FINE = ("star", "cross", "heart", "moon", "diamond")  # shapes that lose their form first when they are small

PICTURES, LABELS = files("shapes")
Row = tuple[Tensor, str, str]  # picture (3, 32, 32) in [0, 1], caption, source
starts = count(0, 100_000)  # each part of the set has scenes and noise of its own


def draw(n: int, things: int) -> Scenes:
    """n scenes of the list `labels`; of those without a small thing that is fine or outlined, every second is left out."""
    batch = scenes(SEED, next(starts), 4 * n, things=things, split="train")
    hard = [
        any(t.size == "small" and (t.shape in FINE or t.fill == "outlined") for t in s.things) for s in batch.scenes
    ]
    return batch.select(list(islice((i for i in range(4 * n) if hard[i] or i % 2), n)))


def rows(source: str, images: Tensor, asked: list[Scene]) -> list[Row]:
    """Pictures with complete English captions in plain words."""
    return [(image, caption(s, synonyms="plain"), source) for image, s in zip(images, asked, strict=True)]


def drawn(source: str, name: str, sizes: dict[int, int], **settings: float) -> list[Row]:
    """Pictures by a generator; sizes: number of things → number of pictures."""
    generator, found = load(name, "cpu"), []
    for things, n in sizes.items():
        asked = draw(n, things).scenes
        prompts = [caption(s, synonyms="plain") for s in asked]
        images = generator(prompts, seed=SEED + next(starts), **settings).images  # type: ignore[arg-type]
        found += rows(source, images, asked)
    return found


def real(source: str, sizes: dict[int, int], change=lambda images: images) -> list[Row]:
    """Real scenes, their pictures changed by `change`."""
    batch = Scenes.join(*(draw(n, things) for things, n in sizes.items()))
    return rows(source, change(render(batch)), batch.scenes)


def blurred(images: Tensor) -> Tensor:
    """Each with a Gaussian of sigma 0.5 to 1.2 pixels."""
    sigmas = torch.linspace(0.5, 1.2, len(images)).tolist()
    return torch.stack([gaussian_blur(image, 9, sigma) for image, sigma in zip(images, sigmas, strict=True)])


def noisy(images: Tensor) -> Tensor:
    """Each with Gaussian noise of standard deviation 0.03 to 0.10."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return images + torch.linspace(0.03, 0.10, len(images))[:, None, None, None] * noise


def changed(scene: Scene, dice: random.Random) -> Scene:
    """A scene that differs in one attribute of one thing, in the background, the place or the relation."""
    names = ("size", "fill", "colour", "shape")
    while True:
        old = {"things": list(scene.things), **{k: getattr(scene, k) for k in ("place", "relation", "background")}}
        name = dice.choice([*names, "background", "place" if scene.place else "relation"])
        if name in names:
            i = dice.randrange(len(scene.things))
            values = dict(zip(names, (SIZES, FILLS, COLOURS, SHAPES), strict=True))[name]
            thing = {k: getattr(scene.things[i], k) for k in names} | {name: dice.choice(values)}
            old["things"][i] = type(scene.things[i])(**thing)
        elif name == "relation" and scene.relation:
            old["things"].reverse()
            old["relation"] = dice.choice(RELATIONS)
        elif name != "relation":
            old[name] = dice.choice(BACKGROUNDS if name == "background" else PLACES)
        found = Scene(tuple(old.pop("things")), **old)
        if not matches(found, scene):
            return found


def first_batch() -> list[Row]:
    """The 370 pictures of the first batch, source by source."""
    shipped = "flow-shapes"
    autoencoder = load_autoencoder()
    dice = random.Random(SEED)
    mistold = Scenes.join(draw(7, 1), draw(10, 2), draw(3, 3))
    return [
        *drawn("drawn", shipped, {1: 60, 2: 60, 3: 30}),
        *drawn("drawn in haste", shipped, {1: 6, 2: 8}, steps=4),
        *drawn("drawn in haste", shipped, {1: 5, 2: 8}, guidance=1),
        *drawn("drawn in haste", shipped, {1: 5, 2: 8}, steps=4, guidance=1),
        *real("round trip", {1: 25, 2: 35}, lambda images: through(autoencoder, images)),
        *real("real", {1: 16, 2: 16, 3: 8}),
        *real("real, blurred", {1: 16, 2: 16, 3: 8}, blurred),
        *real("real, noisy", {1: 8, 2: 8, 3: 4}, noisy),
        *rows("real, wrong caption", render(mistold), [changed(s, dice) for s in mistold.scenes]),
    ]


def second_batch() -> list[Row]:
    """90 more of two sources of the first batch: with these, 100 pictures are round trips and 200 drawn as shipped."""
    global starts
    starts = count(40_000_000, 100_000)
    autoencoder = load_autoencoder()
    return [
        *drawn("drawn", "flow-shapes", {1: 20, 2: 20, 3: 10}),
        *real("round trip", {1: 15, 2: 25}, lambda images: through(autoencoder, images)),
    ]


def other_generator(name: str) -> list[Row]:
    """100 pictures by another generator. Its scenes begin where the first batch cannot reach."""
    global starts
    starts = count(50_000_000, 100_000)
    return drawn("drawn by another generator", name, {1: 40, 2: 40, 3: 20})


def main() -> None:
    """Writes pictures.png and labels.json anew, what is there first and unchanged."""
    old: list[dict] = json.loads(LABELS.read_text(encoding="utf-8")) if LABELS.exists() else []
    if bool(old) != (len(sys.argv) == 2):
        sys.exit("The first batch is made without a name where there is none, a further one with a name.")
    new = first_batch() if not old else second_batch() if sys.argv[1] == "more" else other_generator(sys.argv[1])
    if {entry["caption"] for entry in old} >= {text for _, text, _ in new}:
        sys.exit("This batch is there already.")
    random.Random(SEED + len(old)).shuffle(new)
    pictures = torch.stack([image for image, _, _ in new]).clamp(0, 1)
    if old:
        pictures = torch.cat([load_labels()[0], pictures])
    save_pictures(pictures, [(text, source) for _, text, source in new], old, "shapes")
    print(f"{len(old)} pictures kept, {len(new)} added: {PICTURES.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
