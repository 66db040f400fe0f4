"""The size at which lessons run: `COURSE_PROFILE` = ci, laptop or gpu (default: gpu if there is one, else laptop)."""

from __future__ import annotations

import os
from typing import TypeVar

from course_utils.common import CourseError

T = TypeVar("T")
NAMES = ("ci", "laptop", "gpu")


def name() -> str:
    """The current profile: "ci" (small, but it still trains), "laptop" (what stored outputs show) or "gpu"."""
    chosen = os.environ.get("COURSE_PROFILE", "").strip().lower()
    if not chosen:
        import torch

        return "gpu" if torch.cuda.is_available() else "laptop"
    if chosen not in NAMES:
        raise CourseError(
            f"COURSE_PROFILE is {chosen!r}; it must be one of {', '.join(NAMES)}. Unset it to let the course choose."
        )
    return chosen


def pick(*, ci: T, laptop: T, gpu: T) -> T:
    """The value that belongs to the current profile."""
    return {"ci": ci, "laptop": laptop, "gpu": gpu}[name()]
