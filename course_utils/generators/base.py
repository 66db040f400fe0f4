"""What all generators share: how they are called, how they check prompts, what they give back."""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError, atomic_path
from course_utils.counters import seed_for
from course_utils.language.words import normalise, unknown_words
from course_utils.weights import load_weights

LONGEST_PROMPT = 1_000  # characters
FAMILIES = {  # kind of weights: (module, class) of the generator
    "flow": ("course_utils.generators.flow", "FlowGenerator"),
    "layout-flow": ("course_utils.generators.flow", "FlowGenerator"),
    "flow-map": ("course_utils.generators.flow_map", "FlowMapGenerator"),
}


@dataclass
class Pictures:
    """What a generator drew: images (N, 3, H, W) float in [0, 1], and what it took.

    `seconds`: wall time of the drawing; `evaluations`: passes of the model, a guided one counted as two; `warnings`: what
    the reader should know, such as unknown words.
    """

    images: Tensor
    prompts: list[str]
    seconds: float
    evaluations: int
    warnings: list[str] = field(default_factory=list)

    def save(self, path: str | Path, scale: int = 8, columns: int | None = None) -> Path:
        """Writes the pictures as one sheet, each pixel enlarged `scale` times. Raises CourseError if that is not possible."""
        from PIL import Image

        path = Path(path)
        if path.suffix.lower() not in (".png", ".webp", ".bmp"):
            raise CourseError(f"{path.name} does not end in .png, .webp or .bmp; choose such a name for the picture.")
        n, _, height, width = self.images.shape
        columns = columns or min(n, 8)
        rows = -(-n // columns)
        sheet = torch.ones(rows * columns, 3, height, width)
        sheet[:n] = self.images
        sheet = sheet.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
        pixels = Image.fromarray((sheet * 255).round().byte().numpy())
        with atomic_path(path) as part:
            sheet_size = (columns * width * scale, rows * height * scale)
            try:
                pixels.resize(sheet_size, Image.Resampling.NEAREST).save(part)
            except ValueError as error:  # such as a sheet that is larger than WebP allows
                raise CourseError(
                    f"Cannot write {path} with {sheet_size[0]} x {sheet_size[1]} pixels ({error}); take .png, fewer pictures or a smaller scale."
                ) from error
        return path


class Generator(ABC):
    """Draws pictures from prompts. A family implements `draw`; checks, noise and timing are the same for all."""

    steps, guidance = 1, 1.0  # a family's defaults
    side: int  # pixels of a side of its pictures

    def __init__(self, card: Mapping[str, Any], device: torch.device | str = "cpu"):
        self.card, self.device = card, torch.device(device)

    @abstractmethod
    def draw(self, prompts: list[str], noise: Callable[..., Tensor], steps: int, guidance: float) -> tuple[Tensor, int]:
        """Pictures (N, 3, H, W) for N prompts and the number of model passes. `noise(*shape)` gives (N, *shape)."""

    def __call__(
        self,
        prompts: str | Sequence[str],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        n: int = 1,
        first: int = 0,
        strict: bool = False,
        batch_size: int = 64,
    ) -> Pictures:
        """Draws n pictures for each prompt: prompt by prompt, copy by copy.

        The noise of a picture belongs to (seed, number of the prompt, number of the copy), so a picture does not depend on
        what else is drawn with it; the number of the first prompt is `first`, so that a long list may be drawn in parts. Words that the generator was never told, and the end of a prompt that is too long to be
        read, are named in `warnings`; with `strict` they are an error. What the world finds odd in a prompt stands there
        too. Raises CourseError for prompts, steps or guidance that make no sense.
        """
        prompts = list(prompts) if isinstance(prompts, Iterable) and not isinstance(prompts, str) else [prompts]
        warnings = self.check(prompts, strict)
        steps, guidance = self.steps if steps is None else steps, self.guidance if guidance is None else guidance
        if not isinstance(steps, int) or not 1 <= steps <= 1000:
            raise CourseError(f"steps is {steps!r}; it must be a whole number from 1 to 1000.")
        if not 0 <= guidance <= 100:
            raise CourseError(
                f"guidance is {guidance!r}; it must lie between 0 (ignore the words) and 100; 1 means none."
            )
        if not isinstance(n, int) or n < 1:
            raise CourseError(f"n is {n!r}; it must be a whole number of pictures for each prompt, at least 1.")
        jobs = [(i, k) for i in range(len(prompts)) for k in range(n)]
        started, found, evaluations = time.perf_counter(), [], 0
        for start in range(0, len(jobs), batch_size):
            part = jobs[start : start + batch_size]
            numbers = [(first + i, k) for i, k in part]
            noise = lambda *shape, numbers=numbers: noise_for(seed, numbers, shape).to(self.device)  # noqa: E731
            with torch.inference_mode():
                images, passes = self.draw([prompts[i] for i, _ in part], noise, steps, guidance)
            found.append(images.float().clamp(0, 1).cpu())
            evaluations += passes
        seconds = time.perf_counter() - started
        return Pictures(torch.cat(found).clone(), [prompts[i] for i, _ in jobs], seconds, evaluations, warnings)

    def check(self, prompts: Sequence[str], strict: bool) -> list[str]:
        """Warnings about unknown words, what is not read and what is odd; CourseError for what cannot be drawn at all."""
        if not prompts:
            raise CourseError("There is no prompt; give at least one, such as “a small red circle”.")
        unheard, odd = [], []
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise CourseError(f"A prompt must be text, and {prompt!r} is not; write it in quotes.")
            if any("\ud800" <= sign <= "\udfff" for sign in prompt):  # broken bytes from a shell or a file
                raise CourseError(f"The prompt {prompt!a} holds bytes that are no text; write it in UTF-8.")
            if len(prompt) > LONGEST_PROMPT:
                raise CourseError(
                    f"The prompt has {len(prompt):,} characters; {LONGEST_PROMPT:,} are allowed. Shorten it."
                )
            if not normalise(prompt):
                raise CourseError("The prompt is empty; say what to draw, such as “a small red circle”.")
            for word, nearest in self.unknown_words(prompt).items():
                hint = f"; did you mean “{nearest}”?" if nearest else ""
                unheard.append(f"“{word}” is not a word that this generator knows{hint}")
            if unread := self.unread(prompt):
                unheard.append(f"the prompt is too long; “{unread}” at its end is not read")
            shown = prompt if len(prompt) <= 60 else f"{prompt[:59]}…"
            odd += [f"“{shown}”: {remark.removesuffix('.')}" for remark in self.remarks(prompt)]
        unheard = list(dict.fromkeys(unheard))
        if strict and unheard:
            said = " ".join(line if line.endswith("?") else f"{line}." for line in unheard)
            raise CourseError(f"{said} Use fewer or known words, or allow this (strict=False, --any-words).")
        return unheard + list(dict.fromkeys(odd))

    def unread(self, prompt: str) -> str:
        """The end of the prompt that goes beyond what the text encoder reads; "" if all of it is read."""
        return ""

    def unknown_words(self, prompt: str) -> dict[str, str | None]:
        """Words and symbols of the prompt that are not in the card's list, each with the nearest known one."""
        return unknown_words(prompt, self.card["words"]) if "words" in self.card else {}

    def remarks(self, prompt: str) -> list[str]:
        """What the world of this generator finds odd in the prompt, if it has a grammar and combinations that were held out."""
        grammars = {"shapes": "worlds.captions", "emoji_scenes": "worlds.emoji_scenes.captions"}
        grammar = grammars.get(str(self.card.get("world")))
        part = {} if self.card.get("split", "train") == "train" else {"split": self.card["split"]}
        return importlib.import_module(f"course_utils.{grammar}").remarks(prompt, **part) if grammar else []


def noise_for(seed: int, jobs: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (len(jobs), *shape), each row drawn from its own generator for (seed, prompt, copy)."""
    seeds = [seed_for(seed, prompt, copy) for prompt, copy in jobs]
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(one)) for one in seeds])


def load(name: str | Path = "flow-shapes", device: torch.device | str | None = None) -> Generator:
    """The generator with these weights (a shipped name or a folder). Raises CourseError if they are missing or damaged."""
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise CourseError(f"The device {str(chosen)!r} cannot be used here; choose “cpu”.") from error
    weights = load_weights(name)
    if weights.card.get("kind") not in FAMILIES:
        raise CourseError(
            f"The weights {str(name)!r} are of the kind {weights.card.get('kind')!r}, which draws no pictures."
        )
    try:
        module, family = FAMILIES[weights.card["kind"]]
        return getattr(importlib.import_module(module), family)(weights, chosen)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CourseError(
            f"The card of the weights {str(name)!r} does not describe a generator of this course ({type(error).__name__}: "
            f"{reason}); give weights that `train` has written."
        ) from error
