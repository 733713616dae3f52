"""The page in a browser: what a visitor downloads is what `translate` writes, and nothing leaves the page."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

import diptych

from .conftest import Address, encoded, photo, pixels

Open = Callable[[str], Page]
READY = re.compile(r"^Ready\. The last one")
HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page of a server. It must neither complain nor ask anybody but its server for anything."""
    complaints, contexts = list[str](), []

    def call(address: str) -> Page:
        contexts.append(context := browser.new_context())
        opened = context.new_page()
        own = "/".join(address.split("/")[:3])

        def asked(url: str) -> None:
            if not url.startswith((own, "blob:", "data:")):
                complaints.append(url)

        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("dialog", lambda dialog: complaints.append(dialog.message))
        opened.on("request", lambda request: asked(request.url))
        opened.goto(address)
        expect(opened.locator("body[data-ready]")).to_be_attached(timeout=30_000)
        return opened

    yield call
    for context in contexts:
        context.close()
    assert [one for one in complaints if "415" not in one] == []  # the browser's own line for a file that is no picture


def downloaded(opened: Page, button: str = "Download") -> tuple[str, bytes]:
    with opened.expect_download() as waiting:
        opened.get_by_role("button", name=button, exact=True).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def result(opened: Page, what: Callable[[], object]) -> tuple[str, bytes]:
    expect(opened.locator("body:not(:has(.busy))")).to_be_attached()  # what the page began with is done
    opened.evaluate("document.getElementById('status').textContent = 'before'")
    what()
    expect(opened.locator("#status")).to_have_text(READY, timeout=30_000)
    return downloaded(opened)


def test_a_photograph_comes_back_as_translate_writes_it(
    address: Address, two_way_run: Path, open_page: Open, tmp_path: Path
) -> None:
    deep = np.asarray(photo().convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    alpha = photo()
    alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
    alpha.save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(tmp_path / "turned.jpg", exif=exif)
    opened = open_page(f"{address(tiny=two_way_run)}/models/tiny?direction=AtoB")
    for name in ("deep.tif", "alpha.png", "turned.jpg"):
        file = tmp_path / name
        diptych.translate(two_way_run, file, out=tmp_path / f"out-{name}", direction="AtoB", device="cpu")
        called, data = result(opened, lambda file=file: opened.set_input_files("#file", file))  # type: ignore[misc]
        assert called == f"{file.stem}-result{file.suffix}"
        assert data == (tmp_path / f"out-{name}").read_bytes()
    shown = opened.locator("#result").evaluate("canvas => [canvas.width, canvas.height]")
    assert shown == [36, 40]
    opened.get_by_role("link", name="The other way, B to A").click()
    expect(opened.locator("main")).to_have_attribute("data-tool", "board")


def test_several_pictures_become_a_zip(address: Address, colouring_run: Path, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(address(tiny=colouring_run))
    given = [("a.png", encoded(photo())), ("A.jpg", encoded(photo(), "JPEG")), ("a.png", encoded(photo(30, 30)))]
    files = [FilePayload(name=name, mimeType="image/png", buffer=data) for name, data in [*given, (HOSTILE, b"no")]]
    opened.set_input_files("#file", files)
    expect(opened.locator("#several-note")).to_have_text("3 of 4 pictures, 1 could not be translated", timeout=30_000)
    assert HOSTILE in opened.locator("#list .wrong").inner_text()
    name, data = downloaded(opened, "Download all")
    assert name == "pictures.zip"
    model = diptych.load(colouring_run, device="cpu")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.png", "A.jpg", "a-2.png"]
        assert np.array_equal(pixels(archive.read("a.png")), pixels(model(photo())))


def test_a_hole_is_painted_and_filled(address: Address, completion_run: Path, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(address(tiny=completion_run))
    photo().save(tmp_path / "given.png")
    opened.set_input_files("#file", tmp_path / "given.png")
    box = opened.locator("#board").bounding_box()
    assert box

    def paint() -> None:
        opened.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
        opened.mouse.down()
        opened.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
        opened.mouse.up()

    _, data = result(opened, paint)
    painted = opened.locator("#board").evaluate(
        "board => [...board.getContext('2d').getImageData(0, 0, 40, 36).data].filter((_, i) => i % 4 === 3)"
    )
    mask = np.array(painted, np.uint8).reshape(36, 40) > 127
    assert 0 < mask.sum() < mask.size / 2
    expected = diptych.load(completion_run, device="cpu")(photo(), mask=mask)
    assert np.array_equal(pixels(data), pixels(expected))


def test_a_drawing_and_a_seed(address: Address, tiny_run: Path, sampling_run: Path, open_page: Open) -> None:
    server = address(tiny=tiny_run, noise=sampling_run)
    opened = open_page(f"{server}/models/noise")
    model = diptych.load(sampling_run, device="cpu")
    opened.get_by_role("button", name=model.classes[2]).click()
    name, data = result(opened, lambda: opened.get_by_role("button", name="Another one").click())
    assert name == f"{model.classes[2]}-1-result.png"
    assert np.array_equal(pixels(data), pixels(model.sample(model.classes[2], seed=1)[0]))
    opened = open_page(f"{server}/models/tiny")
    _, data = result(opened, lambda: opened.get_by_role("button", name="Clear").click())
    colour = opened.evaluate("about.palette[0].code")
    expected = diptych.load(tiny_run, device="cpu")(Image.new("RGB", (32, 32), colour))
    assert np.array_equal(pixels(data, "RGB"), pixels(expected))


def test_what_the_pages_may_do(address: Address, tiny_run: Path, sampling_run: Path, tmp_path: Path) -> None:
    server = address(tiny=tiny_run, noise=sampling_run)
    for path in ("/", "/docs", "/models/tiny"):
        answer = httpx2.get(server + path)
        policy = answer.headers["content-security-policy"]
        assert answer.status_code == 200
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert not re.search("https?://", answer.text.replace(server, ""))
    for path in (
        "settings.toml",
        "log.jsonl",
        "model/config.json",
        "../../../etc/passwd",
        "%2e%2e/x.png",
        "samples/.x.png",
    ):
        assert httpx2.get(f"{server}/models/tiny/report/{path}").status_code == 404
    without = httpx2.get(f"{address(tiny=tiny_run, page=False)}/docs")
    assert (without.status_code, "/openapi.json says what there is" in without.text) == (404, True)


def test_the_report_of_the_run_is_served(address: Address, tiny_run: Path, tmp_path: Path, open_page: Open) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    diptych.report(run)
    (run / "samples/link.png").symlink_to("/etc/passwd")
    server = address(tiny=run)
    opened = open_page(f"{server}/models/tiny")
    opened.get_by_role("link", name="Report of the training").click()
    expect(opened.locator("h1")).to_have_text("run")
    assert opened.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    opened.locator("#help").click()
    expect(opened.get_by_role("dialog")).to_be_visible()  # its scripts run
    assert httpx2.get(f"{server}/models/tiny/report/samples/link.png").status_code == 404


def test_scripts_in_the_report_of_a_strangers_run_do_not_run(
    address: Address, tiny_run: Path, tmp_path: Path, browser: Browser
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    page = diptych.report(run)
    own = page.read_text()
    stolen = "<script>document.title = 'stolen'</script>"
    in_data = own.replace("const data = {", "const data = (document.title = 'stolen') && {")
    assert in_data != own
    for html in (own.replace("</body>", f"{stolen}<img src=x onerror=\"document.title = 'stolen'\"></body>"), in_data):
        page.write_text(html)
        opened = browser.new_page()
        opened.goto(f"{address(tiny=run)}/models/tiny/report/index.html")
        expect(opened.locator("h1")).to_have_text("run")
        assert "stolen" not in opened.title()
        opened.close()
