"""Pretrained weights. None are bundled: they are found on the disk, or downloaded on request."""

import hashlib
import os
import socket
import sys
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import torch

from diptych.wording import brief

STALLED = 60.0  # seconds without a byte, after which a download is given up
SHOWN = 12  # hexadecimal digits of a SHA-256


@dataclass(frozen=True)
class Weights:
    """A file of weights: found by one of its names, verified by its content."""

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
    """Weights are missing, have the wrong content, or could not be downloaded. Metrics that need no weights still work."""


def find(weights: Weights, folder: Path | None = None, fetch: bool = False) -> Path:
    """The file with these weights.

    It is searched in `folder` (`--weights`) alone; without `folder` in `$DIPTYCH_WEIGHTS`, then in the cache of torch.hub.
    With `fetch` (`--fetch-weights`) a missing file is downloaded into the first of these folders. Raises a
    `MissingWeightsError` with instructions for a missing file, or one of other content.
    """
    own = folder or os.environ.get("DIPTYCH_WEIGHTS")
    folders = [Path(own)] if own else []
    if not folder:
        folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for file in (folder / name for folder in folders for name in weights.names):
        if file.is_file():
            if (size := file.stat().st_size) != weights.size:  # one so large that its digest takes hours
                raise _other_content(file, weights, f"it has {size} bytes, and {weights.size} are expected")
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if digest != weights.sha256:
                found, expected = digest[:SHOWN], weights.sha256[:SHOWN]
                raise _other_content(file, weights, f"its SHA-256 begins with {found}, and {expected} is expected")
            return file
    file = folders[0] / weights.names[0]
    if not fetch:
        raise MissingWeightsError(
            f"{weights.names[0]}: {weights.purpose} ({weights.size / 1e6:.0f} MB) is not in "
            f"{' or '.join(map(str, folders))}; add --fetch-weights, or --weights DIR with the folder that it is in"
        )
    before = socket.getdefaulttimeout()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(STALLED)  # torch.hub sets none
        torch.hub.download_url_to_file(weights.address, str(file), weights.sha256, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:  # a RuntimeError for a wrong hash
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection open
        raise MissingWeightsError(
            f"{file}: {weights.purpose} cannot be fetched ({brief(error, 60) or type(error).__name__}); try again, or put "
            f"the file ({weights.size / 1e6:.0f} MB) there by other means"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return file


def _other_content(file: Path, weights: Weights, reason: str) -> MissingWeightsError:
    return MissingWeightsError(f"{file}: is not {weights.purpose}: {reason}; remove it, and add --fetch-weights")
