"""One interface over all families of generators: `generator = load(name)`, `pictures = generator(prompts, seed=...)`."""

from course_utils.generators.base import Generator, Pictures, load

__all__ = ["Generator", "Pictures", "load"]
