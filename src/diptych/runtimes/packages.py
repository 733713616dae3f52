"""The optional packages that formats and runtimes need."""

from collections.abc import Sequence
from importlib.util import find_spec

WRITES_ONNX = ("onnx", "onnxscript")


def require_packages(what: str, packages: Sequence[str], extra: str) -> None:
    """Raises a `ValueError` with the command that installs them if one of the packages is missing.

    >>> require_packages("--format onnx", ["torch"], "onnx")
    >>> require_packages("--format onnx", ["torch", "no_such_package"], "onnx")
    Traceback (most recent call last):
        ...
    ValueError: --format onnx: needs no_such_package; install it: pip install 'diptych[onnx]'
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        them = "it" if len(missing) == 1 else "them"
        raise ValueError(f"{what}: needs {', '.join(missing)}; install {them}: pip install 'diptych[{extra}]'")
