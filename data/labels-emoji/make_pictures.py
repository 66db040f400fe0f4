"""Makes the pictures of `emoji_scenes` that were labelled by eye: pictures.png, and labels.json with an empty answer for each.

    python data/labels-emoji/make_pictures.py               the first batch; refuses where there is one
    python data/labels-emoji/make_pictures.py flow-emoji    appends 100 pictures by this generator (its name or folder)

All are 32x32, of one large thing of twelve nouns, as the shipped generator draws them. They are shuffled before they are numbered. A picture by a
generator can differ by a grey level on another machine, so labels go with these pictures alone: labels.json holds the SHA-256 of each.
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
from course_utils.measure.labels import SIDE, files, load_labels, save_pictures
from course_utils.measure.quality import through
from course_utils.worlds.emoji_scenes.captions import caption
from course_utils.worlds.emoji_scenes.render import render
from course_utils.worlds.emoji_scenes.scenes import BACKGROUNDS, PLACES, SEEDS, SPLITS, TWELVE, Scene, Scenes, scenes

# The generator of the first batch was `flow-emoji` as it was before its last 96,000 pictures.
WORLD, SHIPPED = "emoji_scenes", "flow-emoji"
SEED, PART = SEEDS["labels"], SPLITS["train_twelve"][2]

Row = tuple[Tensor, str, str]  # picture (3, 32, 32) in [0, 1], caption, source


def some(start: int, n: int) -> Scenes:
    """n scenes of the list `labels`, of the part that the generator has learned; nothing that is held out."""
    return scenes(SEED, start, n, split="train", part=PART)


def rows(source: str, images: Tensor, asked: list[Scene]) -> list[Row]:
    """Pictures with complete English captions in plain words."""
    return [(image, caption(s, synonyms="plain"), source) for image, s in zip(images, asked, strict=True)]


def drawn(source: str, name: str, start: int, n: int) -> list[Row]:
    """Pictures by a generator at its card's settings."""
    asked = some(start, n).scenes
    return rows(
        source, load(name, "cpu")([caption(s, synonyms="plain") for s in asked], seed=SEED + start).images, asked
    )


def changed(scene: Scene, dice: random.Random) -> Scene:
    """A scene of one thing with another noun, place or background."""
    name, values = dice.choice([("noun", TWELVE), ("place", PLACES), ("background", BACKGROUNDS)])
    old = scene.things[0].noun if name == "noun" else getattr(scene, name)
    new = dice.choice([value for value in values if value != old])
    if name == "noun":
        return dataclasses.replace(scene, things=(dataclasses.replace(scene.things[0], noun=new),))
    return dataclasses.replace(scene, **{name: new})


def first_batch() -> list[Row]:
    """The first 240 pictures, source by source."""
    dice, trip, real, mistold = random.Random(SEED), some(100_000, 20), some(200_000, 10), some(300_000, 10)
    return [
        *drawn("drawn", SHIPPED, 0, 200),
        *rows("round trip", through(load_autoencoder(SHIPPED), render(trip, SIDE)), trip.scenes),
        *rows("real", render(real, SIDE), real.scenes),
        *rows("real, wrong caption", render(mistold, SIDE), [changed(s, dice) for s in mistold.scenes]),
    ]


def main() -> None:
    """Writes pictures.png and labels.json anew, what is there first and unchanged."""
    pictures, labels = files(WORLD)
    old: list[dict] = json.loads(labels.read_text(encoding="utf-8")) if labels.exists() else []
    if bool(old) != (len(sys.argv) == 2):
        sys.exit("The first batch is made without a name where there is none, a further one with a name.")
    new = drawn(f"drawn by {Path(sys.argv[1]).name}", sys.argv[1], 400_000, 100) if old else first_batch()
    random.Random(SEED + len(old)).shuffle(new)
    images = torch.stack([image for image, _, _ in new]).clamp(0, 1)
    if old:
        images = torch.cat([load_labels(WORLD)[0], images])
    save_pictures(images, [(text, source) for _, text, source in new], old, WORLD)
    print(f"{len(old)} pictures kept, {len(new)} added: {pictures.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
