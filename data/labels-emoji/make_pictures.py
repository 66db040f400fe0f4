"""Makes the pictures of `emoji_scenes` that were labelled by eye: pictures.png, and labels.json with an empty answer for each.

    python data/labels-emoji/make_pictures.py               the first batch; refuses where there is one
    python data/labels-emoji/make_pictures.py flow-emoji    appends 100 pictures by this generator (its name or folder)

All are 64x64, of one, two or three things. They are shuffled before they are numbered. A picture by a generator can differ by a grey level on
another machine, so labels go with these pictures alone: labels.json holds the SHA-256 of each.
"""

import dataclasses
import json
import random
import sys
from pathlib import Path

import torch
from torch import Tensor

from course_utils.generators import load
from course_utils.generators.flow import load_autoencoder
from course_utils.measure.labels import SIDES, files, load_labels, save_pictures
from course_utils.measure.quality import through
from course_utils.worlds.emoji_scenes.captions import caption
from course_utils.worlds.emoji_scenes.render import render
from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, NAMES, SEEDS, Scene, Scenes, scenes

WORLD, SHIPPED = "emoji_scenes", "flow-emoji"
SEED = SEEDS["labels"]
COUNTS = {1: 80, 2: 70, 3: 50}  # pictures of so many things in the first batch

Row = tuple[Tensor, str, str]  # picture (3, 64, 64) in [0, 1], caption, source


def some(start: int, n: int, things: int | None = None) -> Scenes:
    """n scenes of the list `labels`, of so many things, or mixed; nothing that is held out."""
    return scenes(SEED, start, n, things=things, split="train")


def rows(source: str, images: Tensor, asked: list[Scene]) -> list[Row]:
    """Pictures with complete English captions in plain words."""
    return [(image, caption(s, synonyms="plain"), source) for image, s in zip(images, asked, strict=True)]


def drawn(source: str, name: str, start: int, counts: dict[int, int]) -> list[Row]:
    """Pictures by a generator at its card's settings, so many of each number of things."""
    asked = [s for things, n in counts.items() for s in some(start + 10_000 * things, n, things).scenes]
    return rows(
        source, load(name, "cpu")([caption(s, synonyms="plain") for s in asked], seed=SEED + start).images, asked
    )


def changed(scene: Scene, dice: random.Random) -> Scene:
    """A scene with another noun in place of the first thing's, or another background."""
    name, values = dice.choice([("noun", NAMES), ("background", BACKGROUNDS)])
    old = scene.things[0].noun if name == "noun" else scene.background
    new = dice.choice([value for value in values if value != old])
    if name == "background":
        return dataclasses.replace(scene, background=new)
    return dataclasses.replace(scene, things=(dataclasses.replace(scene.things[0], noun=new), *scene.things[1:]))


def first_batch() -> list[Row]:
    """The first 240 pictures, source by source."""
    dice, trip, real, mistold = random.Random(SEED), some(100_000, 20), some(200_000, 10), some(300_000, 10)
    side = SIDES[WORLD]
    return [
        *drawn("drawn", SHIPPED, 0, COUNTS),
        *rows("round trip", through(load_autoencoder(SHIPPED), render(trip, side)), trip.scenes),
        *rows("real", render(real, side), real.scenes),
        *rows("real, wrong caption", render(mistold, side), [changed(s, dice) for s in mistold.scenes]),
    ]


def main() -> None:
    """Writes pictures.png and labels.json anew, what is there first and unchanged."""
    pictures, labels = files(WORLD)
    old: list[dict] = json.loads(labels.read_text(encoding="utf-8")) if labels.exists() else []
    if bool(old) != (len(sys.argv) == 2):
        sys.exit("The first batch is made without a name where there is none, a further one with a name.")
    new = (
        drawn(f"drawn by {Path(sys.argv[1]).name}", sys.argv[1], 400_000, {1: 40, 2: 35, 3: 25})
        if old
        else first_batch()
    )
    random.Random(SEED + len(old)).shuffle(new)
    images = torch.stack([image for image, _, _ in new]).clamp(0, 1)
    if old:
        images = torch.cat([load_labels(WORLD)[0], images])
    save_pictures(images, [(text, source) for _, text, source in new], old, WORLD)
    print(f"{len(old)} pictures kept, {len(new)} added: {pictures.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
