"""Norm and modulation of adaLN as one Triton kernel, forward and backward: (x - μ)/σ · (1 + scale) + shift, read once, written once.

On a GPU Triton compiles it. On a CPU its interpreter runs it, slowly, to check what it computes: set TRITON_INTERPRET=1 before
Triton is first imported. `ready` says whether it can run here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPS = 1e-6


def plain(x: Tensor, scale: Tensor, shift: Tensor, eps: float = EPS) -> Tensor:
    """The same by PyTorch's operators: x (B, N, D), scale and shift (B, D) -> (B, N, D)."""
    normed = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=eps)
    return normed * (1 + scale[:, None]) + shift[:, None]


try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


def ready(device: str = "cpu") -> str:
    """Why the kernel cannot run here; "" if it can."""
    if triton is None:
        return "The package triton is not installed (PyTorch brings it with its CUDA builds for Linux)."
    if device == "cpu" and type(tl.sum).__name__ != "InterpretedFunction":
        return "Without a GPU, TRITON_INTERPRET=1 must be set before Triton is first imported, also by torch.compile."
    return ""


if triton is not None:

    @triton.jit
    def forward_kernel(x, scale, shift, out, tokens, width, eps, BLOCK: tl.constexpr):
        """One program for each row, a token of a picture: it is read once and written once."""
        row = tl.program_id(0)
        here = tl.arange(0, BLOCK)
        inside = here < width
        picture = row // tokens
        value = tl.load(x + row * width + here, mask=inside, other=0.0)
        mean = tl.sum(value, 0) / width
        apart = tl.where(inside, value - mean, 0.0)
        rstd = 1 / tl.sqrt(tl.sum(apart * apart, 0) / width + eps)
        s = tl.load(scale + picture * width + here, mask=inside, other=0.0)
        b = tl.load(shift + picture * width + here, mask=inside, other=0.0)
        tl.store(out + row * width + here, apart * rstd * (1 + s) + b, mask=inside)

    @triton.jit
    def backward_kernel(x, scale, dout, dx, dscale, dshift, tokens, width, eps, BLOCK: tl.constexpr):
        """One program for each picture: it walks through the tokens, and adds up what scale and shift get from them."""
        picture = tl.program_id(0)
        here = tl.arange(0, BLOCK)
        inside = here < width
        s = tl.load(scale + picture * width + here, mask=inside, other=0.0)
        ds = tl.zeros([BLOCK], tl.float32)
        db = tl.zeros([BLOCK], tl.float32)
        for token in range(tokens):
            at = (picture * tokens + token) * width + here
            value = tl.load(x + at, mask=inside, other=0.0)
            d = tl.load(dout + at, mask=inside, other=0.0)
            mean = tl.sum(value, 0) / width
            apart = tl.where(inside, value - mean, 0.0)
            rstd = 1 / tl.sqrt(tl.sum(apart * apart, 0) / width + eps)
            normed = apart * rstd
            dn = d * (1 + s)
            dn_mean = tl.sum(dn, 0) / width
            along = tl.sum(dn * normed, 0) / width
            tl.store(dx + at, rstd * (dn - dn_mean - normed * along), mask=inside)
            ds += d * normed
            db += d
        tl.store(dscale + picture * width + here, ds, mask=inside)
        tl.store(dshift + picture * width + here, db, mask=inside)


class Modulated(torch.autograd.Function):
    """`plain` by the two kernels, for contiguous fp32 tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
        b, n, d = x.shape
        ctx.save_for_backward(x, scale)
        ctx.eps, out = eps, torch.empty_like(x)
        forward_kernel[(b * n,)](x, scale, shift, out, n, d, eps, BLOCK=triton.next_power_of_2(d))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale = ctx.saved_tensors
        b, n, d = x.shape
        dx, dscale, dshift = torch.empty_like(x), torch.empty_like(scale), torch.empty_like(scale)
        given = grads[0].contiguous()
        backward_kernel[(b,)](x, scale, given, dx, dscale, dshift, n, d, ctx.eps, BLOCK=triton.next_power_of_2(d))
        return dx, dscale, dshift, None


def modulated(x: Tensor, scale: Tensor, shift: Tensor, eps: float = EPS) -> Tensor:
    """Norm and modulation in one kernel: x (B, N, D), scale and shift (B, D), fp32 -> (B, N, D). See `plain`, and `ready`."""
    return Modulated.apply(x.contiguous(), scale.contiguous(), shift.contiguous(), eps)
