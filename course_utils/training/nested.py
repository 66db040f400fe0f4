"""Batches are tensors, or tuples, lists and dicts of them: what is done to each tensor inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from course_utils.common import CourseError


def changed(batch: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same nest with `change(tensor)` for each tensor in it; what is no tensor stays."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: changed(value, change) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        values = [changed(value, change) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch


def move(batch: Any, device: torch.device) -> Any:
    """`batch` with every tensor in it on `device`; from CPU to GPU through pinned memory, so that nobody waits."""

    def there(value: Tensor) -> Tensor:
        pin = device.type == "cuda" and value.device.type == "cpu"
        return (value.pin_memory() if pin else value).to(device, non_blocking=pin)

    return changed(batch, there)


def fill(fixed: Any, batch: Any) -> None:
    """Copies the numbers of `batch` into the tensors of `fixed`. Raises CourseError if they differ in anything but numbers."""
    if isinstance(fixed, Tensor) and isinstance(batch, Tensor):
        same = (fixed.shape, fixed.dtype) == (batch.shape, batch.dtype)
        if same:
            fixed.copy_(batch)
    elif isinstance(fixed, Mapping) and isinstance(batch, Mapping):
        same = fixed.keys() == batch.keys()
        if same:
            for key, value in fixed.items():
                fill(value, batch[key])
    elif isinstance(fixed, list | tuple) and isinstance(batch, list | tuple):
        same = len(fixed) == len(batch)
        if same:
            for value, other in zip(fixed, batch, strict=True):
                fill(value, other)
    else:
        same = type(fixed) is type(batch) and fixed == batch
    if not same:
        raise CourseError(
            f"A recorded step needs batches of one shape: the first had {described(fixed)}, and now there is {described(batch)}; "
            "make them alike, or leave out `graph` (--graph)."
        )


def described(value: Any) -> str:
    """What a part of a batch is, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, Mapping | list | tuple) else repr(value)
