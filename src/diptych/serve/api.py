"""The interface for programs: /v1."""

import io
import zipfile
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from diptych.images.files import from_tensor
from diptych.serve.bodies import PICTURE_FIELDS, Body, json_of
from diptych.serve.house import House, accepted, headers_of, number, wish_of
from diptych.serve.models import ServedModel, describe
from diptych.serve.pictures import MEDIA_TYPES, SUFFIX_OF, Answer, previewed
from diptych.serve.problems import Problem, of_error
from diptych.serve.work import Job
from diptych.wording import printable

MOST_SAMPLES = 256
PICTURE = {"type": "string", "format": "binary"}
TRANSLATE_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture; or a form with `image` and, for completion, `mask`; or JSON in base64.",
        "content": {
            "image/*": {"schema": PICTURE},
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["image"], "properties": {"image": PICTURE, "mask": PICTURE}}
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string"}, "mask": {"type": "string"}},
                }
            },
        },
    }
}
BATCH_BODY = {
    "requestBody": {
        "required": True,
        "description": "A form with several files `image`.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "array", "items": PICTURE}},
                }
            }
        },
    }
}
SAMPLE_BODY = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "label": {"type": "string"},
                        "count": {"type": "integer", "default": 1},
                        "seed": {"type": "integer", "default": 0},
                    },
                }
            }
        }
    }
}
PICTURE_BACK: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {media: {"schema": PICTURE} for media in MEDIA_TYPES.values()}},
    "4XX": {"description": "Problem details (RFC 9457): `detail` is one line that says what to do."},
    503: {"description": "As many requests wait as may; `Retry-After` says for how many seconds."},
}
Direction = Annotated[str | None, Query(description="AtoB or BtoA, of a model that knows both ways.")]
WorkingSize = Annotated[int | None, Query(description="Shrinks the shorter side to so many pixels for the network.")]
Blend = Annotated[str | None, Query(description="Of completion: none, telea or poisson.")]
Format = Annotated[str | None, Query(description="png, jpg, webp or tiff; without it by `Accept`, else as it came.")]
Quality = Annotated[int | None, Query(description="Of JPEG and WebP, 1 to 100.")]
Strip = Annotated[bool | None, Query(description="Leave out EXIF, XMP, IPTC and texts; the colour profile stays.")]


def router(house: House) -> APIRouter:
    """The routes below /v1."""
    routes = APIRouter(prefix="/v1")
    _add_models(routes, house)
    _add_one_picture(routes, house)
    _add_several_pictures(routes, house)
    return routes


def _add_models(routes: APIRouter, house: House) -> None:
    @routes.get("/models", summary="The models, and what goes into each")
    async def models() -> dict[str, Any]:
        described = [await _described(house, served) for served in house.catalogue.models.values()]
        return {"models": described}

    @routes.get("/models/{name}", summary="One model")
    async def model(name: str) -> dict[str, Any]:
        return await _described(house, house.catalogue.named(name))


def _add_one_picture(routes: APIRouter, house: House) -> None:
    @routes.post(
        "/models/{name}/translate", summary="A picture through a model", openapi_extra=TRANSLATE_BODY,
        responses=PICTURE_BACK, response_class=Response,
    )  # fmt: skip
    async def translate(
        name: str, request: Request, direction: Direction = None, working_size: WorkingSize = None,
        blend: Blend = None, format: Format = None, quality: Quality = None, strip_metadata: Strip = None,
    ) -> Response:  # fmt: skip
        served = house.catalogue.named(name)
        return await house.answered(
            request,
            lambda body: house.translated(served, wish_of(request, body), direction or _field(body, "direction")),
        )

    @routes.post(
        "/models/{name}/preview", summary="A picture as browsers show it, PNG of 8 bits", openapi_extra=TRANSLATE_BODY,
        responses=PICTURE_BACK, response_class=Response,
    )  # fmt: skip
    async def preview(name: str, request: Request) -> Response:
        served = house.catalogue.named(name)

        async def answer(body: Body) -> Response:
            model, most = await house.opened(served), house.limits.max_pixels
            data = await house.work.in_thread(partial(previewed, model, body.picture(), most))
            return Response(data, media_type=MEDIA_TYPES[".png"])

        return await house.answered(request, answer)


def _add_several_pictures(routes: APIRouter, house: House) -> None:
    @routes.post(
        "/models/{name}/batch", summary="Several pictures through a model, as a zip", openapi_extra=BATCH_BODY,
        response_class=Response,
    )  # fmt: skip
    async def batch(
        name: str, request: Request, direction: Direction = None, working_size: WorkingSize = None,
        format: Format = None, quality: Quality = None,
    ) -> Response:  # fmt: skip
        served = house.catalogue.named(name)
        return await house.answered(request, lambda body: _archive(house, served, request, body, direction))

    @routes.post(
        "/models/{name}/sample", summary="Pictures out of noise; several as a zip", openapi_extra=SAMPLE_BODY,
        responses=PICTURE_BACK, response_class=Response,
    )  # fmt: skip
    async def sample(
        name: str, request: Request, label: str | None = None, count: int | None = None, seed: int | None = None,
        format: Format = None,
    ) -> Response:  # fmt: skip
        served = house.catalogue.named(name)
        return await house.answered(request, lambda body: sampled(house, served, request, body), raw=True)


def _field(body: Body, name: str) -> str | None:
    return str(body.fields[name]) if name in body.fields else None


async def _described(house: House, served: ServedModel) -> dict[str, Any]:
    if not served.is_open:
        return {"name": served.name, "ready": False}
    return {**describe(served.name, await house.opened(served)), "ready": True}


# ---- several pictures


async def _archive(house: House, served: ServedModel, request: Request, body: Body, direction: str | None) -> Response:
    """A zip with a result for each picture, and `problems.txt` where there are any."""
    given = [(name, data) for field, name, data in body.files if field in PICTURE_FIELDS]
    if not given:
        raise Problem(422, "no pictures; send a form with several files named image")
    stream, problems = io.BytesIO(), list[str]()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        taken = set[str]()
        for number_of_it, (name, data) in enumerate(given, start=1):
            own = Body(files=[(PICTURE_FIELDS[0], "", data)], fields=body.fields)
            stem = _free(printable(PurePosixPath(name.replace("\\", "/")).stem)[:100] or f"{number_of_it:03d}", taken)
            try:
                answer = await house.translated(served, wish_of(request, own), direction)
            except (ValueError, Problem) as error:
                detail = error.detail if isinstance(error, Problem) else of_error(error).detail
                problems.append(f"{stem}: {detail}")
                continue
            suffix = SUFFIX_OF.get(str(answer.media_type), ".png")
            archive.writestr(f"{stem}{suffix}", bytes(answer.body))
        if problems:
            archive.writestr("problems.txt", "".join(f"{line}\n" for line in problems))
    headers = {"X-Diptych-Skipped": str(len(problems)), "Content-Disposition": 'attachment; filename="pictures.zip"'}
    return Response(stream.getvalue(), media_type="application/zip", headers=headers)


def _free(stem: str, taken: set[str]) -> str:
    """The name, with a number where it is taken."""
    stem = stem.lstrip(".") or "picture"
    found, number_of_it = stem, 1
    while found.lower() in taken:
        number_of_it += 1
        found = f"{stem}-{number_of_it}"
    taken.add(found.lower())
    return found


# ---- pictures out of noise


async def sampled(house: House, served: ServedModel, request: Request, body: Body) -> Response:
    """Pictures of a class: one as a picture, several as a zip."""
    [(_, _, data)] = body.files
    given = {**(json_of(data) if data.strip() else {}), **request.query_params}
    label, count, seed = given.get("label"), number(given, "count", 1), number(given, "seed", 0)
    assert count is not None
    assert seed is not None
    if not 1 <= count <= MOST_SAMPLES:
        raise Problem(422, f"count {count}: a number from 1 to {MOST_SAMPLES} is expected")
    model = await house.opened(served)
    suffix = ".png"
    if accept := [one for one in accepted(request, given) if one in SUFFIX_OF]:
        suffix = SUFFIX_OF[accept[0]]

    def write(_: None, drawn: list[Any]) -> list[Answer]:
        return [Answer(model.encoded(pixels, suffix)[0], MEDIA_TYPES[suffix], []) for pixels in drawn]

    def compute(_: Any) -> list[Any]:
        wanted = None if label is None else str(label)
        return [[from_tensor(y, model.translator.output_spec.bits) for y in model.generate(wanted, count, seed)]]

    answers = await house.work.through(lambda: None, lambda _: Job(None, None, compute), write)
    house.metrics.picture(served.name, count)
    headers = headers_of(served, model, [])
    if count == 1:
        return Response(answers[0].data, media_type=answers[0].media_type, headers=headers)
    with zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_STORED) as archive:
        for number_of_it, answer in enumerate(answers):
            archive.writestr(f"{number_of_it:05d}{suffix}", answer.data)
    return Response(stream.getvalue(), media_type="application/zip", headers=headers)
