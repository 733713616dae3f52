"""Where weights lie that others trained. None are bundled: they are found on the disk, or fetched where that is asked."""

import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import torch

STALLED = 60.0  # seconds without a byte, after which a download is given up


@dataclass(frozen=True)
class Weights:
    """A file of weights. It is known by its names, and known again by its content."""

    purpose: str
    names: tuple[str, ...]
    sha256: str
    size: int
    """Bytes."""
    address: str


INCEPTION = Weights(
    purpose="the Inception of FID, KID, MiFID, precision and recall",
    names=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    address="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
)
ALEXNET = Weights(
    purpose="the AlexNet of LPIPS",
    names=("alexnet-owt-7be5be79.pth",),
    sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    size=244_408_911,
    address="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)


class MissingWeightsError(ValueError):
    """They are nowhere, are something else, or could not be fetched; what needs no weights can still be done."""


def find(weights: Weights, folder: Path | None = None, fetch: bool = False) -> Path:
    """The file with these weights.

    It is looked for in `folder` (`--weights`) and there alone; without it in `$DIPTYCH_WEIGHTS`, then where torch.hub and
    all that use it keep what they fetch. With `fetch` (`--fetch-weights`) it is downloaded into the first of these places if
    it is in none. Raises a `MissingWeightsError`, which says what to put where, where there is none or
    a file of the name holds something else.
    """
    places = [folder] if folder else _places()
    for file in (place / name for place in places for name in weights.names):
        if file.is_file():
            _check(weights, file)
            return file
    file = places[0] / weights.names[0]
    if not fetch:
        raise MissingWeightsError(
            f"{weights.names[0]}: {weights.purpose} is not in {' or '.join(map(str, places))}; put there what "
            f"{weights.address} serves ({weights.size / 1e6:.0f} MB), name its folder by $DIPTYCH_WEIGHTS, or let "
            "`diptych evaluate --fetch-weights` fetch it"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _stalling_no_longer_than(STALLED):
            torch.hub.download_url_to_file(weights.address, str(file), weights.sha256, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:  # the last of a wrong hash
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise MissingWeightsError(
            f"{file}: {weights.purpose} cannot be fetched from {weights.address} ({error or type(error).__name__}); "
            f"put the file ({weights.size / 1e6:.0f} MB) there by other means"
        ) from error
    return file


@contextmanager
def _stalling_no_longer_than(seconds: float) -> Iterator[None]:
    """Inside, a new connection that is silent for so long breaks off; torch.hub leaves that to the process."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _places() -> list[Path]:
    asked = os.environ.get("DIPTYCH_WEIGHTS")
    return [*([Path(asked)] if asked else []), Path(torch.hub.get_dir()) / "checkpoints"]


def _check(weights: Weights, file: Path) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != weights.sha256:
        raise MissingWeightsError(
            f"{file}: is not {weights.purpose}: its SHA-256 is {found}, and {weights.sha256} is expected; remove it or "
            f"copy it again from {weights.address}"
        )
