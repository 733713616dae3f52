"""The pages for people: one for each model, one that lists them, one that documents the interface for programs."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from diptych import page
from diptych.about import about, can_show
from diptych.files import lies_in
from diptych.model import Model
from diptych.page import About
from diptych.report.templates import own_scripts
from diptych.serve.house import House
from diptych.serve.models import ServedModel, direction_of
from diptych.serve.problems import Problem

REPORT = "index.html"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".svg")
"""What the report of a run shows, by suffix."""
MAX_REPORT = 2**26  # bytes of its page, which is read as a whole

TEMPLATES = Environment(
    loader=PackageLoader(__package__, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)  # fmt: skip


class Pages:
    """Makes the pages of models, and keeps them until the model changes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._kept: dict[tuple[str, str], tuple[Model, str, str]] = {}

    async def of(self, served: ServedModel, direction: str | None) -> Response:
        """The page of a model."""
        model = await self.house.opened(served, direction)
        key = (served.name, model.direction)
        if key not in self._kept or self._kept[key][0] is not model:
            html, policy = await asyncio.to_thread(self._render, served, model)
            self._kept[key] = (model, html, policy)
        _, html, policy = self._kept[key]
        return _page(html, policy)

    def _render(self, served: ServedModel, model: Model) -> tuple[str, str]:
        if not can_show(model):
            return _text("plain.html", title=served.name, served=served.name)
        shown: About = about(Path(served.run), model, [])
        if shown.largest_hole:
            held = f"{shown.largest_hole} pixels; larger ones are filled at a smaller scale"
            shown = replace(shown, facts={**shown.facts, "Largest hole": held})
        return page.render_served(
            replace(
                shown,
                title=served.name,
                server=f"/v1/models/{served.name}",
                direction=model.direction if len(model.translators) > 1 else "",
                links=self._links(served, model),
            )
        )

    def _links(self, served: ServedModel, model: Model) -> Mapping[str, str]:
        links = {}
        if (Path(served.run) / REPORT).is_file():
            links["Report of the training"] = f"/models/{served.name}/report/{REPORT}"
        for direction in model.translators:
            if direction != model.direction:
                links[f"The other way, {direction.replace('to', ' to ')}"] = (
                    f"/models/{served.name}?direction={direction}"
                )
        if len(self.house.catalogue.models) > 1:
            links["All models"] = "/"
        return links | {"For programs": "/docs"}


def router(house: House, app: FastAPI) -> APIRouter:
    """The routes of pages."""
    routes, pages = APIRouter(include_in_schema=False), Pages(house)

    @routes.get("/")
    async def first() -> Response:
        names = list(house.catalogue.models)
        if len(names) == 1:
            return await pages.of(house.catalogue.named(None), None)
        return _page(*_text("models.html", title="Models", names=names))

    @routes.get("/models/{name}")
    async def model(name: str, direction: str | None = None) -> Response:
        direction_of(direction)
        return await pages.of(house.catalogue.named(name), direction)

    @routes.get("/models/{name}/report")
    async def to_report(name: str) -> Response:
        return RedirectResponse(f"/models/{house.catalogue.named(name).name}/report/{REPORT}")

    @routes.get("/models/{name}/report/{path:path}")
    async def report(name: str, path: str) -> Response:
        return await asyncio.to_thread(_of_report, Path(house.catalogue.named(name).run), path)

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        asked = [_operation(path, methods) for path, methods in app.openapi()["paths"].items()]
        server = str(request.base_url).rstrip("/")
        name = next(iter(house.catalogue.models))
        operations = [one for several in asked for one in several]
        return _page(*_text("docs.html", title="For programs", operations=operations, server=server, name=name))

    return routes


def _of_report(run: Path, path: str) -> Response:
    """A file of a run's report: its page or a picture, and nothing that lies elsewhere."""
    file = run / path
    wanted = path == REPORT or file.suffix.lower() in PICTURES
    hidden = any(part.startswith(".") for part in Path(path).parts)
    if not wanted or hidden or not lies_in(run, file) or not file.is_file():
        raise Problem(404, "there is no such file in the report; `diptych report RUN` draws it")
    if path != REPORT:
        return FileResponse(file, headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"})
    if file.stat().st_size > MAX_REPORT:
        raise Problem(404, f"the report is larger than {MAX_REPORT:,} bytes; open {REPORT} in the run's folder")
    html = file.read_text(encoding="utf-8", errors="replace")
    scripts = (
        " ".join(map(page.digest, own_scripts(html))) or "'none'"
    )  # a stranger's run may come with a page of its own
    return _page(
        html,
        f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src {scripts}; form-action 'none'",
    )


def _operation(path: str, methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary", ""),
            "parameters": [
                {"name": one["name"], "what": one.get("description", "").replace("`", "")}
                for one in operation.get("parameters", ())
                if one["in"] == "query"
            ],
            "body": operation.get("requestBody", {}).get("description", "").replace("`", ""),
        }
        for method, operation in methods.items()
    ]


def _text(template: str, **values: Any) -> tuple[str, str]:
    """A page without scripts, and its policy."""
    style = page.shared_style() + TEMPLATES.get_template("style.css").render()
    policy = f"default-src 'none'; style-src {page.digest(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    return TEMPLATES.get_template(template).render(style=Markup(style), **values), policy


def _page(html: str, policy: str) -> Response:
    headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'", "Cache-Control": "no-cache"}
    return HTMLResponse(html, headers=headers)
