"""A generator that is measured while it trains: the same prompts again and again, a sheet of what it draws, a judge's answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from course_utils.common import CourseError
from course_utils.generators.flow import FlowGenerator
from course_utils.recipes import Recipe
from course_utils.training import State
from course_utils.weights import Weights, weights_folder
from course_utils.worlds.captioned import Captioned


class Watch:
    """A callback, twenty times in a run: draws `prompts` prompts with the averaged weights, always from the same noise.

    The pictures go into `sheets` in the run's folder. In a world with a judge it returns how many of them are right,
    `judged_one` and `judged_two` (fractions), of validation prompts: what is chosen by this curve is measured on others.
    """

    def __init__(self, recipe: Recipe, images: int, prompts: int):
        self.recipe, self.every_images = recipe, max(1, images // 20)
        assert recipe.world is not None
        self.groups = asked(recipe.world, prompts)
        self.judge: Any = None

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
        if not has_judge(self.recipe.card["world"]):
            return {}
        self.judge = self.judge or shapes_judge()
        shown = iter(self.judge.read(pictures.images))
        return {
            f"judged_{name}": sum(next(shown).shows(prompt.asked) for prompt in group) / len(group)
            for name, group in self.groups.items()
        }


def has_judge(of: str) -> bool:
    """Whether a world has a judge, with weights that are there."""
    try:
        return bool(weights_folder("judge")) and of == "shapes"
    except CourseError:
        return False


def shapes_judge() -> Any:
    """Judge A of the world shapes."""
    from course_utils.measure.judge import Judge

    return Judge.load()


def asked(of: Captioned, n: int) -> dict[str, list[Any]]:
    """n prompts in all, in groups: validation prompts in both languages where there is a grammar, else captions of the first pictures."""
    if of.name == "shapes":
        from course_utils.measure.quality import prompts_of
        from course_utils.worlds.scenes import SEEDS

        names = {"one": "one_object", "two": "two_objects"}
        return {name: prompts_of(group, -(-n // 2), SEEDS["validation"]) for name, group in names.items()}
    if of.name == "emoji_scenes":
        from course_utils.worlds.emoji_scenes.captions import caption
        from course_utils.worlds.emoji_scenes.scenes import SEEDS as LISTS
        from course_utils.worlds.emoji_scenes.scenes import scenes

        found = {}
        for name, things in (("one", 1), ("two", 2)):
            rows = scenes(LISTS["validation"], 0, -(-n // 2), things=things, split="train").scenes
            found[name] = [
                Asked(caption(scene, language=("en", "zh")[i % 2], seed=i), scene) for i, scene in enumerate(rows)
            ]
        return found
    return {"all": [Asked(of.caption(i % of.n, seed=i), None) for i in range(n)]}


class Asked(NamedTuple):
    """A prompt, and the scene that it asks for; None in a world without a grammar."""

    text: str
    asked: Any
