"""Models on the Hugging Face Hub: `hub:OWNER/NAME`, or `hub:OWNER/NAME@REVISION`, wherever a model folder is taken."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from diptych.wording import brief

PREFIX = "hub:"
FILES = ("config.json", "model.safetensors", "README.md")
"""All that is ever fetched: nothing that could be code."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
REVISION = re.compile(r"[\w./-]+")


class Address(NamedTuple):
    """A model on the hub."""

    repository: str
    revision: str | None
    """A branch, a tag or a commit; None is the main branch."""

    @property
    def name(self) -> str:
        """The repository without its owner."""
        return self.repository.partition("/")[2]

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address in `text`, with or without `hub:`; a `ValueError` for what is none.

        >>> Address.parse("hub:me/facades@v1")
        Address(repository='me/facades', revision='v1')
        """
        repository, _, revision = text.removeprefix(PREFIX).partition("@")
        if not NAME.fullmatch(repository) or (revision and not REVISION.fullmatch(revision)) or text.endswith("@"):
            raise ValueError(f"{brief(text, 80)}: hub:OWNER/NAME or hub:OWNER/NAME@REVISION is expected")
        return cls(repository, revision or None)


def local_folder(path: Path) -> Path:
    """The folder of a model: `path` itself, or of a `hub:` address the copy on this machine, fetched when it is not there.

    The folder's name is the commit, so that a note of the folder says exactly which weights were used. Without a network
    the copy that was fetched last is used. A `ValueError` where there is none.

    >>> local_folder(Path("runs/facades"))
    PosixPath('runs/facades')
    """
    if not str(path).startswith(PREFIX):
        return path
    address, hub = Address.parse(str(path)), library()
    wanted: dict[str, Any] = {"revision": address.revision, "allow_patterns": list(FILES)}
    try:
        return Path(hub.snapshot_download(address.repository, **wanted))
    except Exception as error:  # of the network, the hub or the disk
        try:
            return Path(hub.snapshot_download(address.repository, local_files_only=True, **wanted))
        except Exception:
            raise ValueError(
                f"{path}: cannot be fetched ({brief(error, 120)}), and is not on this machine yet; check the name, the "
                "network, and for a private model `hf auth login`"
            ) from error


def library() -> Any:
    """huggingface_hub, without its bars; a `ValueError` where it is not installed."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # it is read when the library is imported
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("hub: needs the extra package: pip install 'diptych[hub]'") from error
    return huggingface_hub
