"""The addresses that clients of other servers know: rembg, IOPaint, BentoML, endpoints of Hugging Face. All go to /v1."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from diptych.serve.api import PICTURE_BACK, TRANSLATE_BODY
from diptych.serve.bodies import Body
from diptych.serve.house import House, wish_of
from diptych.serve.models import ServedModel
from diptych.serve.pictures import MEDIA_TYPES
from diptych.serve.problems import Problem

PNG = MEDIA_TYPES[".png"]
KNOWN: dict[str, Any] = {
    "openapi_extra": TRANSLATE_BODY, "responses": PICTURE_BACK, "response_class": Response, "tags": ["other clients"]
}  # fmt: skip


def router(house: House) -> APIRouter:
    """The routes. The model is the first one, or that of the parameter `model`."""
    routes = APIRouter()

    def served(request: Request, body: Body) -> ServedModel:
        name = request.query_params.get("model") or body.fields.get("model")
        # Clients send the names of models of their own server
        return house.catalogue.named(str(name) if name in house.catalogue.models else None)

    async def plain(request: Request) -> Response:
        return await house.answered(
            request, lambda body: house.translated(served(request, body), wish_of(request, body))
        )

    async def as_png(request: Request) -> Response:
        async def answer(body: Body) -> Response:
            wish = wish_of(request, Body(body.files), accept=(PNG,))  # the other fields are for models of another kind
            return await house.translated(served(request, body), wish)

        return await house.answered(request, answer)

    routes.post("/", summary="As an endpoint of Hugging Face", **KNOWN)(plain)
    routes.post("/translate", summary="As a service of BentoML", **KNOWN)(plain)
    routes.post("/api/remove", summary="As rembg's server", **KNOWN)(as_png)
    routes.post("/api/v1/inpaint", summary="As IOPaint's server", **KNOWN)(as_png)

    @routes.get("/api/remove", include_in_schema=False)
    async def by_address() -> Response:
        raise Problem(405, "addresses are not fetched; POST the picture itself", {"Allow": "POST"})

    @routes.get("/api/v1/model", summary="As IOPaint's server", tags=["other clients"])
    async def model() -> dict[str, Any]:
        first = house.catalogue.named(None)
        found = await house.opened(first)
        return {
            "name": first.name,
            "path": first.name,
            "model_type": "inpaint",
            "is_single_file_diffusers": False,
            "method": found.config.method,
        }

    @routes.get("/api/v1/server-config", summary="As IOPaint's server", tags=["other clients"])
    async def server_config() -> dict[str, Any]:
        models = [{"name": name, "path": name, "model_type": "inpaint"} for name in house.catalogue.models]
        return {"plugins": [], "modelInfos": models, "enableFileManager": False, "disableModelSwitch": True}

    return routes
