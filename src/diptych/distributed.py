"""The processes of one training, and what they say to each other. The only file that knows `torch.distributed`.

torchrun starts them, and tells each by environment variables which one it is. A process alone is the first of one, and
every function here returns at once. Tensors go through NCCL between GPUs and through gloo between CPUs; messages always go
through gloo, where a process may wait for days while another one validates.

What ends one process ends all of them, at the same place and with one line: see `agreeing`.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from diptych import signals

LONGEST_WAIT = timedelta(days=7)
"""For a message: the first process validates, draws and writes meanwhile."""
FIRST_WAIT = timedelta(minutes=15)
"""Until all processes are there: on many machines, they do not start at the same time."""
SHUTDOWN = 120
"""Seconds between a request to end and SIGKILL, where torchrun's own launcher has 30: a checkpoint is written meanwhile."""
MISTAKE, INTERRUPTED, ALONE = 2, 130, 1
"""Exit statuses: as in the command line, and that of a process whose others are gone."""

MOST = 1024
"""Processes that are started on one machine: more are a slip of the finger."""

T = TypeVar("T")


@dataclass
class _Team:
    """This process among the others."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    messages: Any
    ended: bool = False
    """Whether all know already that the training ends here."""
    no_signal_needed: threading.Event = field(default_factory=threading.Event)
    """When set, the end of the launcher sends this process no signal: another one had it, and all are stopping."""


_team: _Team | None = None


# ---- who is there


def rank() -> int:
    """The number of this process, from 0 on."""
    return _team.rank if _team else 0


def size() -> int:
    """How many processes train together.

    >>> size(), rank(), is_first()
    (1, 0, True)
    """
    return _team.size if _team else 1


def local_rank() -> int:
    """The number of this process among those on this machine, from 0 on."""
    return _team.local_rank if _team else 0


def local_size() -> int:
    """How many of the processes are on this machine."""
    return _team.local_size if _team else 1


def is_first() -> bool:
    """Whether this process is the one that writes, prints and validates."""
    return rank() == 0


def started() -> int:
    """How many processes torchrun says that it started; 0 if it did not start this one."""
    return int(os.environ.get("WORLD_SIZE", "0")) if "RANK" in os.environ else 0


@contextmanager
def joined() -> Iterator[None]:
    """Inside, this process is one of those that torchrun started together; without torchrun it is alone."""
    global _team
    if _team:
        _team.ended = False
    if started() < 2 or _team:
        yield
        return
    called_off = signals.end_after(os.getppid()) if dist.is_torchelastic_launched() else threading.Event()
    _team = _joined()
    _team.no_signal_needed = called_off
    try:
        yield
    except KeyboardInterrupt:
        if _team.rank:  # the first one says it
            raise SystemExit(INTERRUPTED) from None
        raise
    except SystemExit as error:
        if error.code == ALONE:
            # The launcher's would interrupt the end of this process.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        _team = None
        if sys.exc_info()[0] is None or dist.get_backend() == "gloo":  # NCCL may wait for a process that is gone
            dist.destroy_process_group()


def _joined() -> _Team:
    with_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    # torchrun keeps its store when it starts killed processes again, and gloo would look for the addresses of the old ones
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=FIRST_WAIT)))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if with_nccl else "gloo",
            store=PrefixStore(f"attempt-{attempt}", store),
            rank=rank,
            world_size=size,
        )
        messages = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the processes of this training did not find each other ({str(error).splitlines()[0][:120]}); start all of "
            "them with the same torchrun command, or those of one machine with --processes"
        ) from error
    local = int(os.environ.get("LOCAL_RANK", "0"))
    return _Team(rank, size, local, int(os.environ.get("LOCAL_WORLD_SIZE", "1")), messages)


# ---- messages


class _Word(NamedTuple):
    """What one process tells all others at once."""

    status: int = 0
    """The exit status with which it ends; 0 goes on."""
    number: int = 0
    text: str = ""


@contextmanager
def _connected() -> Iterator[None]:
    """Inside, a process that has gone away ends this one too, without a line: whoever ended has said why."""
    try:
        yield
    except RuntimeError as error:
        if "memory" in str(error).lower():
            raise
        raise SystemExit(ALONE) from error


def _exchanged(own: _Word) -> list[_Word]:
    """The words of all processes, in their order; ends this one if another one says that it ends."""
    assert _team
    data = own.text.encode("utf-8", errors="surrogatepass")
    headers = _gathered(torch.tensor([own.status, own.number, len(data)]))
    longest = max(int(length) for _, _, length in headers)
    texts = [b""] * len(headers)
    if longest:
        padded = torch.frombuffer(bytearray(data.ljust(longest, b"\0")), dtype=torch.uint8)
        texts = [
            bytes(text[: int(header[2])].tolist()) for text, header in zip(_gathered(padded), headers, strict=True)
        ]
    words = [
        _Word(int(status), int(number), text.decode("utf-8", errors="surrogatepass"))
        for (status, number, _), text in zip(headers, texts, strict=True)
    ]
    ending = next((word for word in words if word.status), None)
    if ending and not own.status:
        _team.ended = True
        if _team.rank or not ending.text:
            raise SystemExit(ending.status)
        raise KeyboardInterrupt(ending.text) if ending.status == INTERRUPTED else ValueError(ending.text)
    return words


def _gathered(own: Tensor) -> list[Tensor]:
    assert _team
    of_all = [torch.empty_like(own) for _ in range(_team.size)]
    with _connected():
        dist.all_gather(of_all, own, group=_team.messages)
    return of_all


@contextmanager
def _telling() -> Iterator[None]:
    """Inside, an error is told to the others, who must be about to listen; the first process alone keeps its words."""
    assert _team
    try:
        yield
    except BaseException as error:
        if _team.ended or (isinstance(error, SystemExit) and error.code == ALONE):
            raise
        _team.ended = True
        for_people = isinstance(error, ValueError | KeyboardInterrupt)
        status = INTERRUPTED if isinstance(error, KeyboardInterrupt) else MISTAKE
        with suppress(SystemExit):
            _exchanged(_Word(status, text=str(error) if for_people else ""))
        if _team.rank and for_people:
            raise SystemExit(status) from None
        raise


@contextmanager
def agreeing() -> Iterator[None]:
    """Inside, what ends one process ends all of them, with one line of the first process; nobody leaves before all are done.

    Only for work without tensors of other processes: one that has failed would be waited for.
    """
    if not _team:
        yield
        return
    with _telling():
        yield
    _exchanged(_Word())


def asked_to_stop(asked: bool) -> bool:
    """Whether any process was asked to stop. If so, the launcher's end asks none of them again, on its way out."""
    if not _team:
        return asked
    any_was = any(word.number for word in _exchanged(_Word(number=asked)))
    if any_was:
        _team.no_signal_needed.set()
    return any_was


def decided(work: Callable[[], T]) -> T:
    """What `work`, which the first process alone does, gives it: JSON. The others wait, and get the same."""
    if not _team:
        return work()
    with _telling():
        own = _Word(text=json.dumps(work())) if is_first() else _Word()
    value: T = json.loads(_exchanged(own)[0].text)
    return value


def chosen(work: Callable[[], int]) -> int:
    """As `decided`, for a number, which is faster."""
    if not _team:
        return work()
    with _telling():
        own = _Word(number=work()) if is_first() else _Word()
    return _exchanged(own)[0].number


def collected(value: T) -> list[T]:
    """The value of each process, in their order: JSON."""
    return [json.loads(word.text) for word in _exchanged(_Word(text=json.dumps(value)))] if _team else [value]


# ---- tensors


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Gives floating-point tensors on one device their means over all processes, in place: one exchange for all of them."""
    if not _team or not tensors:
        return
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    with _connected():
        dist.all_reduce(flat)
    flat /= _team.size
    parts = flat.split_with_sizes([tensor.numel() for tensor in tensors])
    torch._foreach_copy_(
        [tensor.detach() for tensor in tensors],
        [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)],
    )


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all processes; every process gets the same."""
    if not _team:
        return value
    value = value.detach().clone()
    average([value])
    return value


@torch.no_grad()
def gathered(own: Tensor) -> Tensor:
    """`[B, ...]` of each process, one after the other: `[B * size, ...]`."""
    if not _team:
        return own
    of_all = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(_team.size)]
    with _connected():
        dist.all_gather(of_all, own.contiguous())
    return torch.cat(of_all)


@torch.no_grad()
def spread(tensors: Sequence[Tensor]) -> None:
    """Gives the tensors of all processes the values of those of the first."""
    if not _team:
        return
    for tensor in tensors:
        copy = tensor.detach().contiguous().clone()
        with _connected():
            dist.broadcast(copy, 0)
        tensor.copy_(copy)


@torch.no_grad()
def differ(tensors: Sequence[Tensor]) -> bool:
    """Whether the sums of the tensors are not the same in all processes: cheap, and no proof that they are."""
    if not _team:
        return False
    sums = torch.stack([tensor.detach().double().sum() for tensor in tensors])
    return len(set(collected(repr(sums.tolist())))) > 1


# ---- starting them


def count(processes: str | None) -> int:
    """How many processes a person asks for: a number, or "auto" for one a GPU; a `ValueError` where they cannot be had.

    >>> count("2"), count(None)
    (2, 1)
    """
    if processes is None:
        return size()
    if processes == "auto":
        return size() if size() > 1 else max(torch.cuda.device_count(), 1)
    if not processes.isdecimal() or not 1 <= int(processes) <= MOST:
        raise ValueError(f"--processes {processes[:20]}: a number of processes, 1 to {MOST}, or auto is expected")
    if size() not in (1, int(processes)):
        raise ValueError(f"--processes {processes}: torchrun has started {size()} for this training; leave it out")
    if int(processes) > 1 and sys.platform == "win32":
        raise ValueError(
            f"--processes {processes}: on Windows a training has one process; leave it out, or train in WSL, which is Linux"
        )
    return int(processes)


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Starts `diptych` with these arguments in several processes on this machine, by torchrun's own launcher.

    Returns their exit status. A signal to end is passed on to all of them.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the launcher's own words: this process says what there is to say
    os.environ.setdefault("OMP_NUM_THREADS", str(max(torch.get_num_threads() // processes, 1)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN))
    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="diptych",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,  # a person's mistake would be tried again
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "diptych", *arguments)
        except SignalException:
            return INTERRUPTED
        except ChildFailedError as error:
            return _status({number: failure.exitcode for number, failure in error.failures.items()}, processes)
    return 0


def _status(codes: dict[int, int], processes: int) -> int:
    """The exit status of all, by those of each; a `ValueError` if the system killed one.

    The launcher ends the others with SIGTERM then, which each of them may take for a request to stop.

    >>> _status({0: 1, 1: 2}, 2)
    2
    >>> _status({0: -9, 1: 130}, 2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: process 1 of 2 was killed (signal 9), ...
    """
    if MISTAKE in codes.values():
        return MISTAKE
    for number, code in codes.items():
        if code < 0 and -code not in (signal.SIGTERM, signal.SIGINT):
            raise ValueError(
                f"process {number + 1} of {processes} was killed (signal {-code}), as by a system without memory; the "
                "checkpoints are whole: the same command goes on"
            )
    if INTERRUPTED in codes.values() or min(codes.values()) < 0:
        return INTERRUPTED
    return max(codes.values())
