"""What this machine can do at best, measured: products of matrices, copies, and the time that any kernel takes; and the roof they make."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_utils.measure.costs import Costs
from course_utils.measure.timing import milliseconds, spread


def ceilings(device: torch.device | str = "cpu", rounds: int = 5, size: int | None = None) -> dict[str, Any]:
    """The machine's ceilings, with the threads that are set now.

    Returns:
        gemm: dtype → operations per second of the product of two square matrices, the best of the rounds ("tf32" on a GPU, too);
        bandwidth: bytes per second, read and written, of a copy larger than the caches;
        overhead: seconds of a kernel with next to nothing to do, the median;
        size: the side of the matrices.
    """
    cuda = torch.device(device).type == "cuda"
    n = size or (8192 if cuda else 1024)
    found: dict[str, Any] = {"size": n, "gemm": {}}
    with torch.inference_mode():
        for name in ("fp32", "tf32", "bf16") if cuda else ("fp32", "bf16"):
            found["gemm"][name] = gemm(n, name, device, rounds)
        words = torch.ones((1024 if cuda else 256) * 2**20 // 4 // (1 if size is None else 16), device=device)
        copy = torch.empty_like(words)
        best = min(milliseconds(lambda: copy.copy_(words), device) for _ in range(rounds + 1))
        found["bandwidth"] = 2 * words.nbytes / best * 1e3
        little = torch.ones(1, device=device)
        found["overhead"] = (
            spread([milliseconds(lambda: repeat(little), device) for _ in range(rounds + 1)]).median / 1e3 / MANY
        )
    return found


MANY = 1000  # calls in a row, as one is shorter than a clock can tell


def repeat(little: Tensor) -> None:
    """MANY additions to a single number."""
    for _ in range(MANY):
        little.add_(1)


def gemm(n: int, dtype: str, device: torch.device | str = "cpu", rounds: int = 5) -> float:
    """Operations per second of a product of two (n, n) matrices (a quarter of n where that is slow), the best of the rounds.

    dtype: "fp32", "bf16", or "tf32", which is fp32 whose factors a GPU may round to 10 bits.
    """
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    a, b = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
    corner = a[: n // 4, : n // 4].contiguous()
    if milliseconds(lambda: corner @ corner, device) > 50:  # where a dtype is emulated, the whole would take minutes
        a = b = corner
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    try:
        best = min(milliseconds(lambda: a @ b, device) for _ in range(rounds + 1))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * len(a) ** 3 / best * 1e3


def roof(costs: Costs, machine: dict[str, Any], dtype: str = "fp32") -> float:
    """The least milliseconds that a computation can take: the longer of its operations and its bytes, each at the machine's best.

    The roofline (Williams, Waterman & Patterson 2009). Intermediate results that stay in a cache may beat the second.
    """
    return 1e3 * max(costs.operations / machine["gemm"][dtype], costs.bytes / machine["bandwidth"])
