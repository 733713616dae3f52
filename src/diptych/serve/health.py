"""Whether a server lives and is ready, and its numbers: by the names of KServe, of Kubernetes and of BentoML."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from diptych.serve.house import House


def router(house: House) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    # A process takes requests when its models are open: whoever gets an answer has one that lives and is ready.

    @routes.get("/livez", include_in_schema=False)
    @routes.get("/v2/health/live", summary="The process answers")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @routes.get("/healthz", include_in_schema=False)
    @routes.get("/readyz", include_in_schema=False)
    @routes.get("/v2/health/ready", summary="The models are open, or open at their first use (--lazy)")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": True})

    @routes.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def metrics() -> Response:
        text, media_type = house.metrics.text()
        return Response(text, headers={"Content-Type": media_type})

    return routes
