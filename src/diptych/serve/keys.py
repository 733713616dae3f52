"""API keys: read from a file, kept as digests, compared in constant time."""

import base64
import binascii
import hashlib
import hmac
from pathlib import Path

from starlette.datastructures import Headers

from diptych.files import read_text

SHORTEST = 16  # characters
CHALLENGE = 'Bearer realm="diptych", Basic realm="diptych"'
"""What a browser asks its user for, as a password with any name."""


def read_keys(file: Path) -> frozenset[bytes]:
    """The digests of the keys in a file, one a line; a `ValueError` where there is none, or a short one."""
    keys = [line.strip() for line in read_text(file).splitlines()]
    keys = [key for key in keys if key and not key.startswith("#")]
    if not keys:
        raise ValueError(
            f"--api-key-file {file}: holds no key; write one a line, such as `openssl rand -hex 32` prints"
        )
    if short := next((number for number, key in enumerate(keys, start=1) if len(key) < SHORTEST), None):
        raise ValueError(f"--api-key-file {file}: key {short} has less than {SHORTEST} characters; take a longer one")
    return frozenset(_digest(key.encode()) for key in keys)


def is_allowed(headers: Headers, keys: frozenset[bytes]) -> bool:
    """Whether a request has one of the keys, which takes equally long for each wrong one."""
    given = _digest(_key_of(headers))
    return sum(hmac.compare_digest(given, key) for key in keys) > 0


def _key_of(headers: Headers) -> bytes:
    """What a request has for a key: X-API-Key, or Authorization as Bearer, or the password of Basic."""
    if key := headers.get("x-api-key"):
        return key.encode("latin-1")  # the bytes of the header
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
