"""Packages that not everybody installs: import them where they are used, with a clear sentence when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from course_utils.common import CourseError


def need(extra: str, module: str) -> ModuleType:
    """Imports and returns `module`, which comes with the extra `extra` of pyproject.toml ("" = the base install).

    Raises CourseError that says what to install if the module's package is missing. A package that is there but broken
    keeps its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise CourseError(missing(package, extra)) from error


def missing(package: str, extra: str = "") -> str:
    """The sentence that says that `package` is not installed and which install brings it."""
    if extra:
        return f"The package {package} is missing; it comes with the extra '{extra}': pip install -e '.[{extra}]'"
    return f"The package {package} is missing; it comes with the course: pip install -e ."
