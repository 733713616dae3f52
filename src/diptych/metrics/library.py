"""torchmetrics, imported where it is needed."""

from importlib import import_module
from typing import Any


def torchmetrics(module: str) -> Any:
    """A module of torchmetrics; a `ValueError` where it does not load."""
    try:
        return import_module(f"torchmetrics.{module}")
    except Exception as error:  # a torchvision that does not load breaks torchmetrics with a RuntimeError
        raise ValueError(
            f"torchmetrics does not load here ({error}); where torchvision is the cause, uninstall it: diptych needs none"
        ) from error
