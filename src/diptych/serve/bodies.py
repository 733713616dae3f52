"""The body of a request: read within limits, and taken apart whether it is a file, a form or JSON."""

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from diptych.serve.options import Limits
from diptych.serve.problems import Problem
from diptych.serve.work import Place
from diptych.wording import brief

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of forms that are none; the client is told
PATIENCE = 1  # seconds that a place is kept for a body that is on its way
MOST_FILES = 256  # of a form
MOST_FIELDS = 64
LONGEST_FIELD = 2**20  # bytes
PICTURE_FIELDS = ("image", "file", "inputs", "data", "picture")
"""What clients call the picture: ours and IOPaint, rembg, Hugging Face, BentoML."""
MASK_FIELDS = ("mask", "mask_image")
CLOSE = {"Connection": "close"}


@dataclass
class Body:
    """What a request holds."""

    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    """The field, the name of the file as the client says it, and its bytes."""
    fields: dict[str, Any] = field(default_factory=dict)
    """All else, by name."""

    def picture(self) -> bytes:
        """The picture; a `Problem` where there is none."""
        found = self._file(PICTURE_FIELDS)
        if found is None:
            raise Problem(422, f"no picture; send its bytes as the body, or a form with the file {PICTURE_FIELDS[0]}")
        return found

    def mask(self) -> bytes | None:
        """The mask, if there is one."""
        return self._file(MASK_FIELDS)

    def _file(self, names: tuple[str, ...]) -> bytes | None:
        found = [data for name in names for name_of_it, _, data in self.files if name_of_it == name]
        if len(found) > 1:
            raise Problem(422, f"{len(found)} files where one is expected; several go to /batch")
        return found[0] if found else None


class Bodies:
    """Reads bodies; all that are not answered yet hold a bounded number of bytes together."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.held = limits, 0

    def require_length(self, request: Request) -> None:
        """A `Problem` for a body that says itself that it is too long, before it is read."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self.limits.max_bytes:
            raise self._too_long()

    def _too_long(self) -> Problem:
        return Problem(413, f"the body has more than {self.limits.max_bytes:,} bytes; send a smaller picture")

    @asynccontextmanager
    async def read(self, request: Request, place: Place) -> AsyncIterator[bytes]:
        """Gives the bytes of a body, which are held until the end of the block, or raises a `Problem`.

        A slow one has no place among those that wait, until it is there.
        """
        own = 0

        def hold(count: int) -> None:
            nonlocal own
            own, self.held = own + count, self.held + count
            if own > self.limits.max_bytes:
                raise self._too_long()
            if self.held > self.limits.max_bytes * self.limits.bodies:
                raise Problem(503, "the pictures that wait hold too many bytes; try again in 1 s", {"Retry-After": "1"})

        try:
            yield await self._in_time(_arrived(request, hold), place)
        finally:
            self.held -= own

    async def _in_time(self, arriving: Coroutine[Any, Any, bytes], place: Place) -> bytes:
        reading = asyncio.ensure_future(arriving)
        try:
            done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
            if not done:
                place.give_back()
            data = await asyncio.wait_for(reading, self.limits.timeout)
            place.take()
            return data
        except TimeoutError:
            raise Problem(408, f"the body did not arrive within {self.limits.timeout:g} s", CLOSE) from None
        finally:
            reading.cancel()


async def _arrived(request: Request, hold: Callable[[int], None]) -> bytes:
    """The bytes of a body; `hold` is asked for room for each part of it."""
    data = bytearray()
    try:
        async for chunk in request.stream():
            hold(len(chunk))
            data += chunk
    except ClientDisconnect:
        raise Problem(400, "the client is gone") from None
    return bytes(data)


async def take_apart(data: bytes, content_type: str) -> Body:
    """The pictures and fields in the bytes of a body; a `Problem` for a form or JSON that is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _of_form(data, content_type)
    if kind == "application/json":
        return _of_json(data)
    if kind == "application/x-www-form-urlencoded" and data[:2] not in (b"\xff\xd8", b"\x89P"):
        raise Problem(415, "a form without files; send the picture's bytes (curl --data-binary @FILE), or multipart")
    if not data:
        raise Problem(422, "the body is empty; send the bytes of a picture")
    return Body([(PICTURE_FIELDS[0], "", data)])


async def _of_form(data: bytes, content_type: str) -> Body:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    headers, body = Headers({"content-type": content_type}), Body()
    parser = MultiPartParser(
        headers, stream(), max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError) as error:
        reason = getattr(error, "message", "") or error
        raise Problem(422, f"the form cannot be read ({brief(reason, 100)})") from error
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            body.files.append((name, value.filename or "", await value.read()))
        else:
            body.fields[name] = value
    await form.close()
    return body


def json_of(data: bytes) -> dict[str, Any]:
    """The object in a text of JSON; a `Problem` for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Problem(422, f"the body is no JSON ({brief(error, 100)})") from error
    if not isinstance(found, dict):
        raise Problem(422, "the body is no JSON object; {...} is expected")
    return found


def _of_json(data: bytes) -> Body:
    found, body = json_of(data), Body()
    parameters = found.pop("parameters", None) or {}
    if not isinstance(parameters, dict):
        raise Problem(422, "parameters: an object is expected")
    for name, value in {**parameters, **found}.items():
        if name in (*PICTURE_FIELDS, *MASK_FIELDS):
            body.files.append((name, "", from_base64(value, name)))
        else:
            body.fields[name] = value
    return body


def from_base64(value: object, name: str) -> bytes:
    """The bytes of a text in base64, with or without `data:image/png;base64,` before it."""
    if isinstance(value, Mapping):  # as Hugging Face's own servers take it
        value = value.get("image")
    if not isinstance(value, str):
        raise Problem(422, f"{name}: a text in base64 is expected")
    if value.startswith(("http:", "https:")):
        raise Problem(422, f"{name}: addresses are not fetched; send the picture itself")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, f"{name}: is no base64") from None
