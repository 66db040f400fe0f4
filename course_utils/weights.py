"""Weights on disk: a folder with `model.safetensors` and `card.json`, the card saying what they are and how they came to be."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from course_utils.common import DATA, CourseError, atomic_path, course_home, sha256, typed_path
from course_utils.loaded import record_loaded

C = TypeVar("C")


def config_from(kind: type[C], values: Mapping[str, Any]) -> C:
    """The frozen config dataclass `kind` from a card's JSON: lists become tuples, other dataclasses are built too."""
    hints, found = get_type_hints(kind), {}
    for name, value in values.items():
        inner = is_dataclass(hints.get(name)) and isinstance(value, Mapping)
        found[name] = config_from(hints[name], value) if inner else tuple(value) if isinstance(value, list) else value
    return kind(**found)


FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
SCALE = ":scale"  # after the name of a tensor of whole numbers: what each of its rows is multiplied by


@dataclass(frozen=True)
class Weights:
    """What a weights folder holds: the tensors (float32, on the CPU), the card and where they were found."""

    state: dict[str, Tensor]
    card: dict[str, Any]
    folder: Path

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part: those whose names start with `name.`, without that start."""
        return {key[len(name) + 1 :]: value for key, value in self.state.items() if key.startswith(name + ".")}


def weights_folder(name: str | Path) -> Path:
    """The folder of these weights: `data/weights/NAME`, else `COURSE_HOME/weights/NAME`, else NAME as a path itself."""
    tried = (
        lambda: DATA / "weights" / str(name),
        lambda: course_home() / "weights" / str(name),  # asked for second: what ships needs no home
        lambda: typed_path(name),
    )
    for folder in tried:
        with contextlib.suppress(OSError, CourseError):  # such as a name that is too long, or no home
            if (folder() / "card.json").is_file():
                return folder()
    shipped = sorted(p.parent.name for p in (DATA / "weights").glob("*/card.json"))
    raise CourseError(
        f"There are no weights called {str(name)!r}; give one of {', '.join(shipped) or 'those in data/weights'}, or a "
        "folder that holds model.safetensors and card.json."
    )


def read_card(name: str | Path) -> dict[str, Any]:
    """The card of these weights. Raises CourseError if there is none or it is not JSON."""
    path = weights_folder(name) / "card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise ValueError("it is no JSON object")
        return card
    except (OSError, ValueError) as error:
        raise CourseError(
            f"The card {path} cannot be read ({error}); get it back with `git checkout -- data/weights`."
        ) from error


def load_weights(name: str | Path, kind: str | None = None) -> Weights:
    """Reads weights by name or folder, checked against the sum in their card; `kind` is what the card must say they are.

    Raises CourseError if they are missing, damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder, card = weights_folder(name), read_card(name)
    path = folder / "model.safetensors"
    remedy = (
        f"get it back with `git checkout -- {path.relative_to(DATA.parent)}`"
        if DATA in path.parents
        else "train it again"
    )
    if not path.is_file():
        raise CourseError(f"The weights {path} are missing; {remedy}.")
    if sha256(path) != card.get("sha256"):
        raise CourseError(f"The weights {path} are damaged: their checksum is not the one in card.json; {remedy}.")
    if kind is not None and card.get("kind") != kind:
        raise CourseError(
            f"The weights {str(name)!r} are of the kind {card.get('kind')!r}, and {kind!r} is needed here; give others."
        )
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise CourseError(f"The weights {path} are not a safetensors file ({error}); {remedy}.") from error
    record_loaded(folder.name, card)
    for key in [key for key in state if key.endswith(SCALE)]:
        name = key.removesuffix(SCALE)
        state[name] = rescaled(state[name], state.pop(key))
    return Weights({key: v.float() if v.is_floating_point() else v for key, v in state.items()}, card, folder)


def save_weights(
    folder: str | Path,
    parts: Mapping[str, Mapping[str, Tensor]],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Writes `model.safetensors` (tensors `part.name`, floats as `dtype`) and `card.json` with its sum; returns the folder.

    As torch.int8 go matrices and filters alone, by `quantised`; their scales and all that has one dimension go as bfloat16.
    """
    from safetensors.torch import save

    folder = Path(folder)
    state = {}
    for part, tensors in parts.items():
        for key, value in tensors.items():
            name, value = f"{part}.{key}", value.detach().cpu()
            if not value.is_floating_point():
                state[name] = value.contiguous()
            elif dtype == torch.int8 and value.ndim > 1:
                state[name], state[name + SCALE] = quantised(value)
            else:
                state[name] = value.to(torch.bfloat16 if dtype == torch.int8 else dtype).contiguous()
    with atomic_path(folder / "model.safetensors") as path:
        path.write_bytes(save(state))
    write_card(folder, {**card, "sha256": sha256(folder / "model.safetensors")})
    return folder


def quantised(value: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor (N, …) as whole numbers from -127 to 127 and a factor (N,) for each of its rows, such that the largest is 127.

    What comes back is at most half a factor away (and the rounding of the factor to bfloat16).
    """
    rows = value.float().flatten(1)
    scale = (rows.abs().amax(1) / 127).clamp_min(1e-12).bfloat16()
    whole = (rows / scale.float()[:, None]).round().clamp(-127, 127)
    return whole.to(torch.int8).view_as(value).contiguous(), scale


def rescaled(whole: Tensor, scale: Tensor) -> Tensor:
    """What `quantised` made into whole numbers, as float32."""
    return whole.float() * scale.float().view(-1, *[1] * (whole.ndim - 1))


def write_card(folder: str | Path, card: Mapping[str, Any]) -> None:
    """Writes `card.json`."""
    with atomic_path(Path(folder) / "card.json") as path:
        path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
