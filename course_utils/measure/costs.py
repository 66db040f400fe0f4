"""What a computation asks of any machine: operations, bytes, kernels, memory. None of it depends on the machine's speed.

Operations are counted by `FlopCounterMode` of PyTorch (two for each multiplication with its addition; only products of matrices,
convolutions and attention count), the rest by a mode that sees every operator on its way to the machine.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

aten = torch.ops.aten


def cpu_attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Operations of fused attention on a CPU, from the shapes of its inputs, which PyTorch's counter does not know (2.11 to 2.14)."""
    return sdpa_flop_count(query, key, value)


ROWS = (aten.embedding.default, aten.index_select.default)
FUSED_ON_CPU = {aten._scaled_dot_product_flash_attention_for_cpu: cpu_attention}


@dataclass(frozen=True)
class Costs:
    """operations; bytes that its kernels read and write; how many kernels; peak: most bytes of tensors alive at once, inputs and weights
    aside; convolutions: the operations among them that are those of convolutions.
    """

    operations: int
    bytes: int
    kernels: int
    peak: int
    convolutions: int = 0

    @property
    def intensity(self) -> float:
        """Operations for each byte that is read or written."""
        return self.operations / max(self.bytes, 1)


def count(call: Callable[[], object]) -> Costs:
    """Runs the call once, without gradients, and counts. What `torch.compile` has fused cannot be seen: count before compiling."""
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FUSED_ON_CPU) as flops, Traffic() as traffic:
        call()
    convolutions = flops.get_flop_counts().get("Global", {}).get(aten.convolution, 0)
    return Costs(flops.get_total_flops(), traffic.bytes, traffic.kernels, traffic.peak, convolutions)


def operations_by_layer(model: torch.nn.Module, call: Callable[[], object]) -> dict[str, int]:
    """Operations of each module of the model, by its path such as "blocks.0.mlp", while the call runs; "" is all of them."""
    names = {
        f"{type(model).__name__}.{name}" if name else type(model).__name__: name for name, _ in model.named_modules()
    }
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FUSED_ON_CPU) as flops:
        call()
    found = {names[path]: sum(ops.values()) for path, ops in flops.get_flop_counts().items() if path in names}
    return {name: found.get(name, 0) for name in names.values()}


class Traffic(TorchDispatchMode):
    """Counts kernels and the bytes of their inputs and outputs, and watches how many bytes of new tensors are alive.

    Views move nothing and do not count. An input that is broadcast counts as large as it is stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.kernels = self.alive = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = list(tensors((args, kwargs))), list(tensors(out))
        if not is_view(func, given, made):
            self.kernels += 1
            read = given[1:] + made if func in ROWS else given  # of a table only the rows that are asked for
            self.bytes += sum(map(size, read)) + sum(map(size, made))
        stored = {one.untyped_storage()._cdata for one in given}
        for one in made:
            storage = one.untyped_storage()
            if storage._cdata not in stored | self.known:
                self.known.add(storage._cdata)
                self.alive += storage.nbytes()
                weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.alive)
        return out

    def forget(self, key: int, nbytes: int) -> None:
        """A tensor's memory is free again."""
        self.known.discard(key)
        self.alive -= nbytes


def tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dictionaries."""
    return (one for one in tree_leaves(values) if isinstance(one, Tensor))


def size(tensor: Tensor) -> int:
    """Bytes of what a tensor holds: rows that `expand` repeats are read from one place."""
    distinct = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        distinct *= length if stride else 1
    return distinct * tensor.element_size() if tensor.numel() else 0


def is_view(func: Any, given: list[Tensor], made: list[Tensor]) -> bool:
    """Whether an operator only looks at its input in another way, or makes nothing."""
    return not made or func.is_view or func in (aten._unsafe_view.default, aten.detach.default, aten.lift_fresh.default)
