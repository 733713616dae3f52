"""The choice of device, precision and memory layout, based on measurements; and how much memory is free."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
import torch

from diptych.cpu import FastOperators, computes_bf16, measured
from diptych.wording import brief

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

Device = str
"""auto, cpu, cuda, mps, or one of several GPUs: cuda:1. `choose_device` says what there is."""
Precision = Literal["auto", "fp32", "bf16"]

LEAST_BF16_RATIO = 1.15
"""Times as fast as fp32 that bf16 must be on a CPU to be chosen: it costs digits."""


def choose_device(device: Device, process: int = 0, processes: int = 1) -> torch.device:
    """The given device, or the fastest available one for "auto"; a `ValueError` with those there are for any other.

    Each of the `processes` of a training has a GPU of its own: `process` is its number on this machine.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    numbered = [f"cuda:{number}" for number in range(gpus)] if gpus > 1 else []
    available = [
        *(["cuda"] if gpus else []),
        *numbered,
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if device == "auto":
        device = available[0]
    if processes > 1 and device != "cpu":
        return _own_device(device, process, gpus)
    if device not in (*available, *(["cuda:0"] if gpus else [])):
        raise ValueError(
            f"--device {brief(device, 30)}: is not on this machine; use one of auto, {', '.join(available)}"
        )
    return torch.device(device)


def _own_device(device: Device, process: int, gpus: int) -> torch.device:
    """The GPU of one of several processes."""
    if device != "cuda":
        raise ValueError(
            f"--device {brief(device, 30)}: several processes train on cuda, a GPU each, or on cpu; give one of them"
        )
    if process >= gpus:
        raise ValueError(
            f"--device cuda: there are {gpus} GPUs for more processes; start as many as GPUs, as --processes auto does"
        )
    torch.cuda.set_device(process)
    return torch.device("cuda", process)


def translation_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """fp32 for "auto", on every device; a `ValueError` for bf16 on a GPU without native support."""
    if precision == "auto":
        return "fp32"
    if precision == "bf16" and device.type == "cuda" and not _is_native(device):
        raise ValueError("--precision bf16: this GPU does not compute in bf16; use fp32")
    return precision


def training_precision(
    precision: Precision, device: torch.device, begun: Literal["fp32", "bf16"] | None = None
) -> tuple[Literal["fp32", "bf16"], str]:
    """The precision of a training, and why: for "auto" bf16 where the device computes it natively and faster than fp32.

    A run that has `begun` in one of the two goes on in it, where the device can.
    """
    if precision != "auto":
        return translation_precision(precision, device), "as requested"
    if begun == "fp32" or (begun == "bf16" and _is_native(device)):
        return begun, "in which the run began"
    if not _is_native(device):
        return "fp32", f"because {device} does not compute in bf16"
    if device.type == "cuda":
        return "bf16", "because this GPU computes faster in it"
    ratio = measured().bf16_ratio
    why = f"because bf16 makes convolutions {ratio:.1f} times as fast on this CPU"
    return ("bf16", why) if ratio >= LEAST_BF16_RATIO else ("fp32", why)


class Computation(NamedTuple):
    """What a training computes on, and how. The last bits of what it learns depend on all of it."""

    device: torch.device
    precision: Literal["fp32", "bf16"]
    transforms: Sequence[str] | None
    """As in `cpu.FastOperators`."""


def training_transforms(device: torch.device, begun: Sequence[str] | None = None) -> Sequence[str] | None:
    """The convolutions of a training that go through a transform on CPUs: as it has `begun`, else as is faster on this CPU.

    None on other devices, for a training that has not begun on a CPU.
    """
    return measured().transforms if begun is None and device.type == "cpu" else begun


def _is_native(device: torch.device) -> bool:
    """Whether a device has instructions for bf16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and computes_bf16()


@contextmanager
def computing(
    precision: Literal["fp32", "bf16"], device: torch.device, operators: FastOperators | None = None
) -> Iterator[None]:
    """Inside, matrix products and convolutions run in the chosen precision, the fastest way; weights stay float32.

    `operators` are those of a frozen network, which keep its weights laid out for the CPU.
    """
    with ExitStack() as stack:
        if precision == "bf16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        if device.type == "cpu":
            stack.enter_context(operators or FastOperators())
        yield


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels last on GPUs; on CPUs instance norm gives contiguous tensors back, and every layer would copy (measured)."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def layout_name(device: torch.device) -> str:
    """The memory layout of `memory_format` in words."""
    return "channels-last" if memory_format(device) is torch.channels_last else "contiguous"


# ---- memory

_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""What a container may use, and what it uses; the second pair is of older systems."""

_NO_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "could not create a memory object",
    "could not create a primitive",
)
"""What torch's allocators say."""


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still allocate on the device, as far as the system says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = int(psutil.virtual_memory().available)
    for limit, used in _CONTAINER:
        with suppress(OSError, ValueError):  # no such file; "max", which is no limit
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    if resource:
        addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
        if addresses != resource.RLIM_INFINITY:
            free = min(free, addresses - psutil.Process().memory_info().vms)
    return max(free, 0)


_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def bytes_from(text: str) -> int:
    """The bytes of a text such as 4G, in multiples of 1024; a `ValueError` for any other text.

    >>> bytes_from("1.5G"), bytes_from("300 MiB")
    (1610612736, 314572800)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)(?:I?B)?", text.strip().upper())
    if not found or not float(found[1]):
        raise ValueError(f"--memory {brief(text, 30)}: an amount such as 4G or 500M is expected")
    return int(float(found[1]) * 2 ** _UNITS[found[2]])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be allocated, on any device.

    >>> is_out_of_memory(RuntimeError("posix_memalign failed:Cannot allocate memory (12)"))  # NNPACK's
    True
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


@contextmanager
def memory_or(message: str) -> Iterator[None]:
    """Inside, memory that cannot be allocated is a `ValueError` with this message."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(message) from None


def all_memory(device: torch.device) -> int:
    """The bytes of memory that a device has in all."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return int(psutil.virtual_memory().total)
