"""Which device, which precision, which memory layout: chosen here, once, by what was measured."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]


def choose_device(device: Device) -> torch.device:
    """The device asked for, or the fastest one there is; a `ValueError` when it is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[device]:
        raise ValueError(
            f"--device {device}: there is none on this machine; use one of "
            f"{', '.join(name for name, is_there in there.items() if is_there)}"
        )
    return torch.device(device)


def choose_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """bf16 where a GPU computes it natively, else fp32; a `ValueError` when bf16 is asked for and not there."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "auto":
        return "bf16" if native else "fp32"
    if precision == "bf16" and device.type == "cuda" and not native:
        raise ValueError("--precision bf16: this GPU does not compute in bf16; use fp32")
    return precision


def autocast(precision: Literal["fp32", "bf16"], device: torch.device) -> AbstractContextManager[object]:
    """Inside, matrix products and convolutions run in the chosen precision; weights stay float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last on GPUs; on AVX2 CPUs that layout measured 0.84 times the speed of the contiguous one."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format
