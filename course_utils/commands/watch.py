"""A generator that is measured while it trains: the same prompts again and again, a sheet of what it draws, a judge's answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from course_utils.common import CourseError
from course_utils.generators.flow import FlowGenerator
from course_utils.measure.judge import Judge
from course_utils.measure.quality import groups_of, prompts_of
from course_utils.measure.worlds import MEASURED, measured
from course_utils.recipes import Recipe
from course_utils.training import State
from course_utils.weights import Weights, weights_folder
from course_utils.worlds.captioned import Captioned

GROUPS = {"one": "one_object", "two": "two_objects"}


class Watch:
    """A callback, twenty times in a run: draws `prompts` prompts with the averaged weights, always from the same noise.

    The pictures go into `sheets` in the run's folder. In a world with a judge it returns how many of
    them are right, `judged_one` and `judged_two` (fractions), of validation prompts: what is chosen by this curve is measured on others.
    """

    def __init__(self, recipe: Recipe, images: int, prompts: int):
        assert recipe.world is not None
        self.recipe, self.every_images = recipe, max(1, images // 20)
        self.groups = asked(recipe.world, prompts)
        self.judge = Judge.load(MEASURED[recipe.world.name].judge) if has_judge(recipe.world.name) else None

    def __call__(self, state: State) -> dict[str, float]:
        if state.folder is None:
            raise CourseError("Pictures of a run under way need a folder to go to; give train(…, folder=…).")
        parts = self.recipe.parts(state.ema_model).items()
        tensors = {f"{part}.{key}": value.float() for part, values in parts for key, value in values.items()}
        with torch.random.fork_rng([]):  # building a model draws first weights
            generator = FlowGenerator(Weights(tensors, self.recipe.card, state.folder), state.device)
        texts = [prompt.text for group in self.groups.values() for prompt in group]
        pictures = generator(texts)
        pictures.save(state.folder / "sheets" / f"{state.images:09d}.png", scale=2, columns=min(8, len(texts)))
        if self.judge is None:
            return {}
        shown = iter(self.judge.read(pictures.images))
        return {
            f"judged_{name}": sum(next(shown).shows(prompt.asked) for prompt in group) / len(group)
            for name, group in self.groups.items()
        }


def has_judge(world: str) -> bool:
    """Whether a world has a judge, with weights that are there."""
    try:
        return world in MEASURED and bool(weights_folder(MEASURED[world].judge))
    except CourseError:
        return False


def asked(world: Captioned, n: int) -> dict[str, list[Any]]:
    """n prompts in all, in groups: validation prompts in both languages where there is a grammar, else captions of the first pictures."""
    if world.name in MEASURED:
        of = measured(world.name, world.split)
        groups = {name: group for name, group in GROUPS.items() if group in groups_of(of)}
        return {
            name: prompts_of(group, -(-n // len(groups)), of.seeds["validation"], of) for name, group in groups.items()
        }
    return {"all": [Said(world.caption(i % world.n, seed=i)) for i in range(n)]}


class Said(NamedTuple):
    """A prompt in a world that has no grammar."""

    text: str
