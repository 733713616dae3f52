"""The Open Inference Protocol, version 2, as KServe and Triton speak it: tensors of levels, or files as BYTES.

https://github.com/kserve/open-inference-protocol; the binary form is Triton's extension for binary tensor data.
"""

import asyncio
import base64
import json
import math
import struct
import zlib
from collections.abc import Coroutine, Iterable
from functools import partial
from importlib.metadata import version as version_of
from typing import Any, NamedTuple

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from diptych.images import numbers
from diptych.images.files import Array, Pixels
from diptych.serve import pictures
from diptych.serve.bodies import Body, from_base64, json_of
from diptych.serve.house import House, headers_of
from diptych.serve.models import ServedModel, describe
from diptych.serve.pictures import Read, Wish
from diptych.serve.problems import Problem

PICTURE, MASK, RESULT = "picture", "mask", "result"
TYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("<u1"), "UINT16": np.dtype("<u2")}
"""Of what goes in."""
RESULT_TYPES = TYPES | {"INT16": np.dtype("<i2"), "FP32": np.dtype("<f4")}
"""Of what comes out: a model of a range gives numbers, where levels do not hold them."""
HEADER = "inference-header-content-length"
LIKE_FILES = "BYTES"
MOST_PICTURES = 256
BODY = {
    "requestBody": {
        "description": "`inputs`: `picture` UINT8 or UINT16 [H, W, C] or [N, H, W, C], or files as BYTES [N]; for "
        "completion `mask`, white in the holes. Binary data follow the JSON by Triton's extension.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class Tensor(NamedTuple):
    """An input: numbers, or the bytes of files."""

    shape: list[int]
    data: Array | list[bytes]


def router(house: House) -> APIRouter:
    """The routes below /v2, but for the health of the server."""
    routes = APIRouter(prefix="/v2", tags=["KServe"])

    @routes.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "diptych", "version": version_of("diptych"), "extensions": ["binary_tensor_data"]}

    @routes.get("/models/{name}", summary="A model and its tensors")
    @routes.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def model(name: str, version: str = "") -> dict[str, Any]:
        served = house.catalogue.named(name)
        return _metadata(describe(name, await house.opened(served)))

    @routes.get("/models/{name}/ready", summary="Whether there is a model of this name")
    @routes.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def ready(name: str, version: str = "") -> JSONResponse:
        served = house.catalogue.named(name)
        return JSONResponse({"name": served.name, "ready": True})

    @routes.post("/models/{name}/infer", summary="Tensors through a model", openapi_extra=BODY, response_class=Response)
    @routes.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer(name: str, request: Request, version: str = "") -> Response:
        served = house.catalogue.named(name)
        return await house.answered(request, lambda body: _inferred(house, served, request, body), raw=True)

    return routes


def _metadata(described: dict[str, Any]) -> dict[str, Any]:
    channels = {one["kind"]: one.get("channels", -1) for one in described["inputs"]}
    inputs = [
        {"name": PICTURE if kind != MASK else MASK, "datatype": "UINT8", "shape": [-1, -1, -1, channels[kind]]}
        for kind in channels
        if kind not in ("noise", "label")
    ]
    output = described["output"]
    kind = _type_of(numbers.type_for(TYPES["UINT8"], output["range"])) if "range" in output else "UINT8"
    shape = [-1, -1, -1, output["channels"]]
    return {
        "name": described["name"],
        "versions": [str(described["step"])],
        "platform": "diptych",
        "inputs": inputs,
        "outputs": [{"name": RESULT, "datatype": kind, "shape": shape}],
    }


def _type_of(dtype: np.dtype[Any]) -> str:
    return next(kind for kind, known in RESULT_TYPES.items() if known.newbyteorder("=") == dtype)


async def _inferred(house: House, served: ServedModel, request: Request, body: Body) -> Response:
    [(_, _, data)] = body.files
    data = await house.work.in_thread(
        partial(_unpacked, data, request.headers.get("content-encoding", ""), house.limits.max_bytes)
    )
    asked, tensors = await house.work.in_thread(partial(_parse, data, request.headers.get(HEADER)))
    if PICTURE not in tensors:
        raise Problem(422, f"inputs: no {PICTURE}; there are {', '.join(tensors) or 'none'}")
    given = _several(tensors[PICTURE])
    masks = _several(tensors[MASK]) if MASK in tensors else [None] * len(given)
    if len(masks) != len(given):
        raise Problem(422, f"{len(masks)} masks for {len(given)} pictures: one for each is expected")
    model = await house.opened(served)
    as_file = isinstance(given[0], bytes)

    def write(wish: Wish, read: Read, result: Pixels) -> Any:
        if as_file:
            return pictures.write(model, wish, read, result).data
        return pictures.coloured(model, read, result)[0].values

    wishes = [Wish(picture, _without_channel(mask)) for picture, mask in zip(given, masks, strict=True)]
    results = await _all_of(
        house.work.through(
            partial(pictures.read, model, wish, house.limits.max_pixels),
            partial(pictures.job, model),
            partial(write, wish),
        )
        for wish in wishes
    )
    house.metrics.picture(served.name, len(results))
    is_batch = as_file or len(tensors[PICTURE].shape) == 4
    headers = headers_of(served, model, [])
    return await house.work.in_thread(
        partial(_response, asked, served.name, str(model.step), results, is_batch, headers)
    )


async def _all_of(works: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The result of each; the first that fails ends the others, for which nobody would wait any more."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


def _without_channel(mask: Array | bytes | None) -> Array | bytes | None:
    return mask[..., 0] if isinstance(mask, np.ndarray) and mask.ndim == 3 else mask


def _several(tensor: Tensor) -> list[Any]:
    if isinstance(tensor.data, list):
        found: list[Any] = tensor.data
    else:
        found = list(tensor.data) if tensor.data.ndim == 4 else [tensor.data]
    if not 1 <= len(found) <= MOST_PICTURES:
        raise Problem(422, f"{len(found)} pictures: 1 to {MOST_PICTURES} are expected")
    return found


# ---- the form of a request


def _unpacked(data: bytes, encoding: str, most: int) -> bytes:
    """A body that was compressed, up to as many bytes as any may have."""
    if encoding not in ("gzip", "deflate"):
        return data
    try:
        inflate = zlib.decompressobj(31 if encoding == "gzip" else 15)
        found = inflate.decompress(data, most + 1)
    except zlib.error as error:
        raise Problem(422, f"the body is no {encoding} ({error})") from error
    if len(found) > most:
        raise Problem(413, f"the body has more than {most:,} bytes; send a smaller picture")
    return found


def _parse(data: bytes, header: str | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON of a request, and its inputs by name."""
    length = int(header) if header and header.isdigit() and len(header) < 12 else len(data)
    asked, rest = json_of(data[:length]), memoryview(data)[length:]
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise Problem(422, "inputs: a list of tensors is expected")
    found: dict[str, Tensor] = {}
    for one in inputs:
        name, parameters = str(one.get("name"))[:60], one.get("parameters") or {}
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        raw: memoryview | None = None
        if size is not None:
            if not isinstance(size, int) or not 0 <= size <= len(rest):
                raise Problem(422, f"{name}: binary_data_size {str(size)[:20]} of {len(rest)} bytes")
            raw, rest = rest[:size], rest[size:]
        # Clients that were written for other models call their first input otherwise
        key = MASK if name == MASK else PICTURE
        found[key] = _tensor(name, one, raw)
    return asked, found


def _tensor(name: str, one: dict[str, Any], raw: memoryview | None) -> Tensor:
    shape, kind = one.get("shape"), one.get("datatype")
    if not isinstance(shape, list) or not all(isinstance(side, int) and 0 < side < 2**31 for side in shape):
        raise Problem(422, f"{name}: shape is no list of numbers above 0")
    if kind == LIKE_FILES:
        return Tensor(shape, _files(name, one.get("data"), raw))
    if kind not in TYPES:
        raise Problem(422, f"{name}: datatype {str(kind)[:20]}; {', '.join(TYPES)} or {LIKE_FILES} is expected")
    if len(shape) not in (2, 3, 4):
        raise Problem(422, f"{name}: shape {shape}; [H, W, C] or [N, H, W, C] is expected")
    try:
        array = np.frombuffer(raw, TYPES[kind]) if raw is not None else _numbers(one.get("data"), TYPES[kind])
        if array.size != math.prod(shape):
            raise ValueError
        return Tensor(shape, array.reshape(shape).astype(TYPES[kind].newbyteorder("=")))
    except (ValueError, TypeError, OverflowError):
        raise Problem(422, f"{name}: its data are not {math.prod(shape)} numbers of {kind}") from None


def _numbers(data: Any, dtype: Any) -> Array:
    array = np.asarray(data)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > np.iinfo(dtype).max:
        raise ValueError
    return array.astype(dtype).reshape(-1)


def _files(name: str, data: Any, raw: memoryview | None) -> list[bytes]:
    """Files in base64, or each behind its length in four bytes."""
    if raw is None:
        if not isinstance(data, list):
            raise Problem(422, f"{name}: data: a list of files in base64 is expected")
        return [from_base64(one, name) for one in data]
    found = list[bytes]()
    while raw:
        size = struct.unpack("<I", raw[:4])[0] if len(raw) >= 4 else len(raw)
        if size > len(raw) - 4:
            raise Problem(422, f"{name}: its last file is cut off")
        found.append(bytes(raw[4 : 4 + size]))
        raw = raw[4 + size :]
    return found


# ---- the form of an answer


def _response(
    asked: dict[str, Any], name: str, version: str, results: list[Any], is_batch: bool, headers: dict[str, str]
) -> Response:
    """Numbers, or files as BYTES; binary where the client asks for that."""
    output: dict[str, Any] = {"name": RESULT}
    array = np.empty(0)
    if isinstance(results[0], bytes):
        output |= {"datatype": LIKE_FILES, "shape": [len(results)]}
        binary = b"".join(struct.pack("<I", len(one)) + one for one in results)
    else:
        array = np.stack(results) if is_batch else results[0]
        kind = _type_of(array.dtype)
        output |= {"datatype": kind, "shape": list(array.shape)}
        binary = array.astype(RESULT_TYPES[kind]).tobytes()
    answer = {"model_name": name, "model_version": version, "outputs": [output]}
    if "id" in asked:
        answer["id"] = str(asked["id"])[:100]
    if not _wants_binary(asked):
        is_files = output["datatype"] == LIKE_FILES
        output["data"] = [base64.b64encode(one).decode() for one in results] if is_files else array.flatten().tolist()
        return JSONResponse(answer, headers=headers)
    output["parameters"] = {"binary_data_size": len(binary)}
    text = json.dumps(answer).encode()
    headers = {**headers, "Inference-Header-Content-Length": str(len(text))}
    return Response(text + binary, media_type="application/octet-stream", headers=headers)


def _wants_binary(asked: dict[str, Any]) -> bool:
    parameters, outputs = asked.get("parameters"), asked.get("outputs")
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], dict):
        of_output = outputs[0].get("parameters")
        if isinstance(of_output, dict) and "binary_data" in of_output:
            return bool(of_output["binary_data"])
    return isinstance(parameters, dict) and bool(parameters.get("binary_data_output"))
