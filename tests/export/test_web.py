"""The web page of a model, in a browser and as a person uses it: what it makes is what `translate` makes."""

import base64
import gzip
import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from safetensors.torch import load_file, save_file

import diptych
from diptych import cli, page
from diptych.about import read_palette
from diptych.data.builtin import facades
from diptych.export import export
from diptych.images.files import Array
from diptych.runtimes import check

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="pip install 'diptych[onnx]'")

Open = Callable[..., Page]
HOSTILE = "<script>alert(1)<b>&'\" {{ 1 }}"
READY = re.compile(r"^Ready\. The last one")
PATIENCE = 180_000  # milliseconds; WebGPU without a graphics processor is slow


def painting(run: Path, folder: Path, **named: str) -> Path:
    """A copy of a run with weights that paint: the tiny ones have hardly learnt to."""
    copy = folder / named.get("name", run.name)
    shutil.copytree(run, copy)
    file, generator = copy / "model/model.safetensors", torch.Generator().manual_seed(0)
    weights = {
        name: value if "running_" in name else torch.randn(value.shape, generator=generator) * 0.3
        for name, value in load_file(file).items()
    }
    save_file(weights, file, metadata={"step": "12"})
    return copy


def exported(run: Path, out: Path, **options: Any) -> Path:
    """The page of a run, with the weights of the run as they are."""
    given = {"weights": "fp32", **options}
    done = export(run, out=out, format="web", **given)
    assert done.is_right
    assert re.search(r"a page of \d+\.\d MB", done.lines[-1 if out.suffix else -2])
    return done.file


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page, and waits for its network. It must neither complain nor ask for anything but its own files."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(address: str, *, browser: Browser = browser, script: str = "", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(script)
        opened = context.new_page()
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("dialog", lambda dialog: complaints.append(dialog.message))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address)
        expect(opened.locator("body[data-ready]")).to_be_attached(timeout=PATIENCE)
        own = address.rsplit("/", 1)[0]
        assert all(urlsplit(url).scheme in ("blob", "data") or url.startswith(own) for url in asked), asked
        if address.startswith("file:"):
            assert [url for url in asked if url.startswith(("http", "file"))] == [address]
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def result(opened: Page, what: Callable[[], object] = lambda: None) -> Array:
    """What a visitor downloads after they did something."""
    opened.evaluate("document.getElementById('status').textContent = 'before'")
    what()
    return downloaded(opened)


def downloaded(opened: Page) -> Array:
    expect(opened.locator("#status")).to_have_text(READY, timeout=PATIENCE)
    with opened.expect_download() as waiting:
        opened.get_by_role("button", name="Download").click()
    return np.asarray(Image.open(waiting.value.path()).copy())


def levels(opened: Page, canvas: str) -> Array:
    """What a canvas holds, `[H, W, 4]`."""
    address = opened.evaluate(f"document.querySelector('{canvas}').toDataURL()")
    return np.asarray(Image.open(BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGBA"))


def drag(opened: Page, surface: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, from and to shares of a surface."""
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    assert box
    opened.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    opened.mouse.down()
    opened.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=6)
    opened.mouse.up()


def assert_equal(ours: Array, theirs: Array, most: int = 1) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= most


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    picture = facades.draw_pair(5, size=256)[0].resize((width, height))
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize((width, height)).point(lambda level: 255 * (level > 90)))
    return picture.convert(mode)


# ---- the drawing board


@pytest.fixture(scope="module")
def drawing_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painting(tiny_run, tmp_path_factory.mktemp("drawing"))


@pytest.fixture(scope="module")
def drawing_page(drawing_run: Path) -> Path:
    return exported(drawing_run, drawing_run.parent / "page.html")


def test_a_drawing_becomes_what_translate_makes_of_it(drawing_page: Path, drawing_run: Path, open_page: Open) -> None:
    opened = open_page(drawing_page.as_uri())
    board, model = opened.locator("#board"), diptych.load(drawing_run, device="cpu")
    opened.get_by_role("button", name="Clear").click()
    empty = levels(opened, "#board")
    assert len(np.unique(empty.reshape(-1, 4), axis=0)) == 1

    opened.get_by_role("button", name="Rectangle").click()
    opened.get_by_role("button", name="#00aaff").click()
    drag(opened, board, (0.2, 0.3), (0.6, 0.8))
    drawn = levels(opened, "#board")
    assert (drawn[10:24, 7:19] == (0, 170, 255, 255)).all()
    assert (drawn != empty).any(axis=-1).sum() == 14 * 17

    opened.get_by_role("button", name="Brush").click()
    opened.get_by_role("button", name="#ffaa00").click()
    drag(opened, board, (0.1, 0.9), (0.9, 0.1))
    opened.keyboard.press("f")
    opened.keyboard.press("3")
    made = result(opened, lambda: board.click(position={"x": 3, "y": 3}))
    drawn = levels(opened, "#board")[..., :3]
    palette = {
        tuple(bytes.fromhex(str(code)[1:]))
        for code in opened.locator("[data-code]").evaluate_all("all => all.map(one => one.dataset.code)")
    }
    assert {tuple(map(int, colour)) for colour in np.unique(drawn.reshape(-1, 3), axis=0)} <= palette
    assert tuple(drawn[0, 0]) != tuple(empty[0, 0, :3])
    assert_equal(made[..., :3], model(drawn))

    for _ in range(3):
        opened.keyboard.press("Control+z")
    assert (levels(opened, "#board") == empty).all()


def test_examples_are_held_out_pictures_and_can_be_left_out(
    drawing_run: Path, drawing_page: Path, tiny_pairs: Path, open_page: Open, tmp_path: Path
) -> None:
    opened = open_page(drawing_page.as_uri())
    result(opened, lambda: opened.get_by_role("button", name="Example 2").click())
    pair = np.asarray(Image.open(sorted((tiny_pairs / "val").iterdir())[1]).convert("RGB"))
    assert (levels(opened, "#board")[..., :3] == pair[:, 32:]).all()
    bare = exported(drawing_run, tmp_path / "bare.html", no_examples=True).read_text()
    assert "image/png" not in bare.split("<script")[0]
    assert 'class="example"' not in bare


def test_a_finger_draws_on_a_phone_and_nothing_is_wider_than_it(drawing_page: Path, open_page: Open) -> None:
    opened = open_page(
        drawing_page.as_uri(), viewport={"width": 360, "height": 740}, has_touch=True, color_scheme="dark"
    )
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    before = levels(opened, "#board")
    opened.locator("[data-code]").nth(4).tap()
    opened.locator("#board").tap()
    assert (levels(opened, "#board") != before).any()
    [worker] = opened.workers  # in which the network runs
    assert worker.url.startswith("blob:")


# ---- photographs


@pytest.fixture(scope="module")
def photo_run(two_way_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painting(two_way_run, tmp_path_factory.mktemp("photos"), name=HOSTILE)


class _Quiet(SimpleHTTPRequestHandler):
    isolated = False

    def log_message(self, *_: object) -> None: ...

    def end_headers(self) -> None:
        if self.isolated:  # then a browser lets a page have threads
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


class _Isolated(_Quiet):
    isolated = True


@pytest.fixture(params=[_Quiet, _Isolated], ids=["plain", "isolated"])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], str]]:
    servers = []

    def call(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/index.html"

    yield call
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def photo_folder(photo_run: Path) -> Path:
    return exported(photo_run, photo_run.parent / "site", direction="AtoB", overwrite=True)


def test_a_web_host_with_and_without_threads(
    photo_folder: Path, photo_run: Path, serve: Callable[[Path], str], open_page: Open, tmp_path: Path
) -> None:
    assert sorted(path.name for path in photo_folder.iterdir()) == [
        "glue.gz",
        "index.html",
        "library.gz",
        "model.gz",
        "wasm.gz",
    ]
    opened = open_page(serve(photo_folder))
    photo(203, 152).save(file := tmp_path / "photo.png")
    made = result(opened, lambda: opened.locator("#file").set_input_files(file))
    assert_equal(
        made, np.asarray(diptych.load(photo_run, direction="AtoB", device="cpu")(Image.open(file).convert("RGBA")))
    )


@pytest.fixture(scope="module")
def photo_page(photo_run: Path) -> Path:
    return exported(photo_run, photo_run.parent / "page.html", direction="AtoB")


def test_photographs_as_cameras_and_painters_save_them(
    photo_page: Path, photo_run: Path, open_page: Open, tmp_path: Path
) -> None:
    opened, model = open_page(photo_page.as_uri()), diptych.load(photo_run, direction="AtoB", device="cpu")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    photo(61, 67).save(turned := tmp_path / "turned.png", exif=exif)
    photo(70, 40, "RGBA").save(cut_out := tmp_path / "cut out.png")
    photo(33, 90).convert("L").save(grey := tmp_path / "grey.png")
    photo(65, 49).save(camera := tmp_path / "camera.jpg", quality=90)
    for file in (turned, cut_out, grey, camera):
        made = result(opened, partial(opened.locator("#file").set_input_files, file))
        asked = Image.open(file)
        theirs = np.asarray(model(asked).convert("RGBA"))
        seen = theirs[..., 3] > 0  # a browser keeps no colour of what cannot be seen
        assert_equal(made[..., 3], theirs[..., 3], most=0)
        assert_equal(made[seen], theirs[seen])


def test_a_picture_can_be_dropped_and_pasted_and_the_divider_dragged(photo_page: Path, open_page: Open) -> None:
    opened = open_page(photo_page.as_uri())
    sizes = []
    for kind, holder, size in (("drop", "dataTransfer", 48), ("paste", "clipboardData", 64)):
        photo(size, size).save(data := BytesIO(), "PNG")
        script = """([kind, holder, base64]) => {
            const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)), given = new DataTransfer();
            given.items.add(new File([bytes], "one.png", { type: "image/png" }));
            dispatchEvent(new (kind === "drop" ? DragEvent : ClipboardEvent)(kind, { [holder]: given }));
        }"""
        sizes.append(
            result(
                opened, partial(opened.evaluate, script, [kind, holder, base64.b64encode(data.getvalue()).decode()])
            ).shape[0]
        )
    assert sizes == [48, 64]
    drag(opened, opened.locator("#divider"), (0.5, 0.5), (0.2, 0.4))
    assert opened.locator("#sheet").evaluate(
        "sheet => parseFloat(sheet.style.getPropertyValue('--at'))"
    ) == pytest.approx(20, abs=3)
    opened.keyboard.press("End")
    assert opened.locator("#sheet").evaluate("sheet => sheet.style.getPropertyValue('--at')") == "100%"


def test_names_are_text_and_a_broken_file_is_said(photo_page: Path, open_page: Open, tmp_path: Path) -> None:
    opened = open_page(photo_page.as_uri())
    assert opened.locator("h1").inner_text() == HOSTILE
    (tmp_path / "broken.png").write_bytes(b"no picture")
    opened.locator("#file").set_input_files(tmp_path / "broken.png")
    expect(opened.locator("#status")).to_have_text("broken.png: is no picture that this browser can open")
    expect(opened.get_by_role("button", name="Download")).to_be_enabled()  # the example is still there


def test_a_picture_of_many_pixels_is_shrunk_for_the_network_and_comes_back_at_its_size(
    photo_page: Path, open_page: Open, tmp_path: Path
) -> None:
    opened = open_page(photo_page.as_uri())
    photo(2000, 900).save(file := tmp_path / "large.png")
    assert result(opened, lambda: opened.locator("#file").set_input_files(file)).shape == (900, 2000, 4)
    expect(opened.locator("#status")).to_contain_text("the network saw 1526 × 687 pixels")


def test_colouring(colouring_run: Path, open_page: Open, tmp_path: Path) -> None:
    run = painting(colouring_run, tmp_path)
    opened = open_page(exported(run, tmp_path / "page.html").as_uri())
    photo(90, 61).convert("L").save(file := tmp_path / "grey.png")
    made = result(opened, lambda: opened.locator("#file").set_input_files(file))
    theirs = diptych.load(run, device="cpu")(Image.open(file).convert("RGB"))
    difference = np.abs(made[..., :3].astype(int) - np.asarray(theirs))
    assert difference.max() <= 2  # the rounding that keeps the lightness has ties of two
    assert (difference <= 1).mean() > 0.999


# ---- holes


def test_what_is_painted_over_is_filled_and_nothing_else_changes(
    completion_run: Path, open_page: Open, tmp_path: Path
) -> None:
    run = painting(completion_run, tmp_path)
    opened = open_page(exported(run, tmp_path / "page.html").as_uri())
    photo(80, 60).save(file := tmp_path / "photo.png")
    opened.locator("#file").set_input_files(file)
    expect(opened.locator("#picture")).to_have_attribute("width", "80")
    source, board = np.asarray(Image.open(file)), opened.locator("#board")
    made = result(opened, lambda: drag(opened, board, (0.4, 0.4), (0.5, 0.5)))
    mask = levels(opened, "#board")[..., 3] > 0
    assert 20 < mask.sum() < 400
    assert (levels(opened, "#picture")[..., :3] == source).all()  # the mask is beside the picture, not in it
    assert_equal(made[~mask][:, :3], source[~mask], most=0)
    assert (made[mask][:, :3] != source[mask]).any()
    assert_equal(made[..., :3], diptych.load(run, device="cpu")(source, mask=mask))

    opened.get_by_role("button", name="Eraser").click()
    for _ in range(4):
        opened.keyboard.press("]")  # a wider brush
    drag(opened, board, (0.3, 0.3), (0.6, 0.6))
    assert not levels(opened, "#board")[..., 3].any()
    opened.get_by_role("button", name="Rectangle").click()
    made = result(opened, lambda: drag(opened, board, (0.1, 0.1), (0.8, 0.9)))  # larger than any hole of the training
    mask = levels(opened, "#board")[..., 3] > 0
    expect(opened.locator("#status")).to_contain_text("the network saw")
    assert_equal(made[~mask][:, :3], source[~mask], most=0)
    assert (made[mask][:, :3] != source[mask]).any(axis=-1).mean() > 0.9


# ---- classes


def test_a_class_and_a_seed_give_what_sample_gives(sampling_run: Path, open_page: Open, tmp_path: Path) -> None:
    run = painting(sampling_run, tmp_path)
    opened, model = open_page(exported(run, tmp_path / "page.html").as_uri()), diptych.load(run, device="cpu")
    assert np.asarray(model.sample("leaf", seed=0)[0]).std() > 20
    made = result(opened, lambda: opened.get_by_role("button", name="leaf").click())
    assert_equal(made[..., :3], np.asarray(model.sample("leaf", seed=0)[0]))
    made = result(opened, lambda: opened.get_by_role("button", name="Another one").click())
    assert_equal(made[..., :3], np.asarray(model.sample("leaf", seed=1)[0]))
    opened.get_by_label("Seed").fill("9007199254740991")
    made = result(opened, lambda: opened.keyboard.press("Enter"))
    assert_equal(made[..., :3], np.asarray(model.sample("leaf", seed=2**53 - 1)[0]))


# ---- the graphics processor

FAKED = """(change) => {
    const Whole = Blob;
    window.Blob = class extends Whole {
        constructor(parts, options) {
            super(String(parts[1]).includes("serveNetwork") ? [parts[0], `\\n(${change})();`, parts[1]] : parts, options);
        }
    };
}"""
"""Has the worker begin with what `change` does to its browser and its runtime."""
GPU = """() => {
    Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => (%s) } });
    const create = ort.InferenceSession.create;
    let runs = 0;
    ort.InferenceSession.create = async (model, options) => {
        const onGpu = options.executionProviders[0] === "webgpu";
        const session = await create.call(ort.InferenceSession, model, { ...options, executionProviders: ["wasm"] });
        if (!onGpu) return session;
        %s
        return {
            release: () => session.release(),
            run: async (inputs) => {
                const { result } = await session.run(inputs);
                runs += 1;
                %s
                return { result };
            },
        };
    };
}"""


@pytest.fixture(scope="module")
def webgpu_page(drawing_run: Path) -> Path:
    return exported(drawing_run, drawing_run.parent / "webgpu.html", webgpu=True)


@pytest.mark.parametrize(
    ("adapter", "at_the_start", "at_a_run", "said"),
    [
        ("null", "", "", "the processor (WebAssembly); this browser gives no WebGPU"),
        ("{}", "", "", "the graphics processor (WebGPU)"),
        (
            "{}",
            "throw new Error('no memory')",
            "",
            "the processor (WebAssembly); the graphics processor fails: no memory",
        ),
        ("{}", "", "throw new Error('lost')", "the processor (WebAssembly); the graphics processor fails: lost"),
        ("{}", "", "result.data[5] ^= 4", "the processor (WebAssembly); the graphics processor makes something else"),
        ("{}", "", "result.data.fill(NaN)", "the processor (WebAssembly); the graphics processor makes something else"),
        (
            "{}",
            "",
            "if (runs > 2) throw new Error('lost')",
            "the processor (WebAssembly); the graphics processor failed: lost",
        ),
    ],
    ids=["no adapter", "used", "no session", "no run", "wrong pixels", "no pixels", "fails later"],
)
def test_a_graphics_processor_that_fails_costs_nothing_but_its_speed(
    webgpu_page: Path, drawing_run: Path, open_page: Open, adapter: str, at_the_start: str, at_a_run: str, said: str
) -> None:
    opened = open_page(webgpu_page.as_uri(), script=f"({FAKED})(`{GPU % (adapter, at_the_start, at_a_run)}`)")
    result(opened, lambda: opened.get_by_role("button", name="Clear").click())
    made = result(opened, lambda: opened.get_by_role("button", name="Example 2").click())
    assert_equal(made[..., :3], diptych.load(drawing_run, device="cpu")(levels(opened, "#board")[..., :3]))
    expect(opened.locator("#runs-on")).to_have_text(said)


def test_without_a_graphics_processor_the_page_says_so(webgpu_page: Path, open_page: Open) -> None:
    opened = open_page(webgpu_page.as_uri())  # of a browser that was started without one
    expect(opened.locator("#runs-on")).to_have_text("the processor (WebAssembly); this browser gives no WebGPU")


@pytest.mark.parametrize("kind", ["tiny_run", "completion_run", "sampling_run"])
def test_webgpu_makes_the_same_pictures(
    kind: str, request: pytest.FixtureRequest, software_gpu: Browser, open_page: Open, tmp_path: Path
) -> None:
    run = painting(request.getfixturevalue(kind), tmp_path)
    opened = open_page(exported(run, tmp_path / "page.html", webgpu=True).as_uri(), browser=software_gpu)
    expect(opened.locator("#runs-on")).to_have_text("the graphics processor (WebGPU)")
    if kind == "sampling_run":
        made = result(opened, lambda: opened.get_by_role("button", name="leaf").click())
        theirs = np.asarray(diptych.load(run, device="cpu").sample("leaf", seed=0)[0])
        assert_equal(made[..., :3], theirs, most=2)
    elif kind == "tiny_run":
        made = result(opened, lambda: opened.get_by_role("button", name="Example 2").click())
        theirs = diptych.load(run, device="cpu")(levels(opened, "#board")[..., :3])
        assert_equal(made[..., :3], theirs, most=2)


@pytest.fixture(scope="module")
def software_gpu(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with WebGPU, computed by its SwiftShader."""
    emulating = browser.browser_type.launch(
        executable_path=shutil.which("chromium"),
        args=["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    )
    (file := tmp_path_factory.mktemp("empty") / "empty.html").write_text("<!doctype html>")
    opened = emulating.new_page()
    opened.goto(file.as_uri())
    if not opened.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())"):
        pytest.skip("this chromium gives no WebGPU, not even in software")
    yield emulating
    emulating.close()


# ---- what is written


def test_the_runtime_is_what_its_checksums_say() -> None:
    folder = Path(page.__file__).parent / "vendor"
    sums = {name: digest for digest, name in map(str.split, (folder / "SHA256SUMS").read_text().splitlines())}
    assert set(sums) == {*page.RUNTIME.values(), *page.WITH_WEBGPU.values()}
    for name, digest in sums.items():
        assert hashlib.sha256(gzip.decompress((folder / f"{name}.gz").read_bytes())).hexdigest() == digest
    assert "Microsoft" in (folder / "LICENSE-onnxruntime.txt").read_text()


def test_a_palette_with_names(drawing_run: Path, tmp_path: Path) -> None:
    (file := tmp_path / "palette.txt").write_text("#0000AA sky & <air>\n\n#0055ff\n")
    assert read_palette(file)[0] == page.Colour("#0000aa", "sky & <air>")
    text = exported(drawing_run, tmp_path / "page.html", palette=file).read_text()
    assert "sky &amp; &lt;air&gt;</button>" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "page.html", "--palette", "bad.txt"), "line 2 is 'blue'"),
        (("--out", "model.onnx", "--palette", "bad.txt"), "--palette, --no-examples and --webgpu: are of a web"),
        (("--out", "model.onnx", "--no-examples"), "--palette, --no-examples and --webgpu: are of a web"),
        (("--out", "model.onnx", "--webgpu"), "--palette, --no-examples and --webgpu: are of a web page"),
        (("--out", "page.html", "--io", "float"), "a web page goes from 8-bit pictures"),
        (("--out", "there.html"), "there.html: exists already"),
        (("--out", "folder", "--format", "web"), "index.html: exists already"),
        (("--out", "model.onnx", "--format", "web"), "the name of an exported file ends in .html"),
    ],
)
def test_what_is_refused(
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.txt").write_text("#0000aa\nblue\n")
    Path("folder").mkdir()
    for file in ("there.html", "folder/index.html"):
        Path(file).write_text("mine")
    assert cli.run(["export", str(tiny_run), *arguments]) == 2
    errors = capfd.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert Path("there.html").read_text() == Path("folder/index.html").read_text() == "mine"


def test_the_network_is_checked_before_there_is_a_page(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "MOST", -1.0)
    done = export(tiny_run, out=tmp_path / "page.html")
    assert not done.is_right
    assert any(line.startswith("fp16 beside fp32") for line in done.lines)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html.onnx.rejected"] == [done.file.name]


def test_a_page_names_no_path_of_this_machine(drawing_page: Path, tmp_path: Path) -> None:
    text = drawing_page.read_text()
    assert str(drawing_page.parent) not in text
    assert str(tmp_path.parent) not in text


def test_without_its_data_a_run_has_a_page_for_pictures_and_it_is_said(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, moved := tmp_path / "moved")
    settings = (moved / "settings.toml").read_text()
    (moved / "settings.toml").write_text(
        re.sub(r'^data = ".*"$', f'data = "{tmp_path / "gone"}"', settings, flags=re.MULTILINE)
    )
    done = export(moved, out=tmp_path / "page.html")
    assert any("no palette" in line for line in done.lines)
    assert any("no examples" in line for line in done.lines)
    assert 'data-tool="photo"' in done.file.read_text()


def test_a_board_of_a_wide_model(train_tiny: Callable[..., Any], open_page: Open, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "wide", size="64x32")
    opened = open_page(exported(run.path, tmp_path / "page.html").as_uri())
    opened.get_by_role("button", name="Clear").click()
    assert levels(opened, "#board").shape == (32, 64, 4)
    assert downloaded(opened).shape == (32, 64, 4)


def test_a_grey_model_sees_the_luma_of_a_picture(
    train_tiny: Callable[..., Any], open_page: Open, tmp_path: Path
) -> None:
    run = painting(train_tiny(tmp_path / "grey", channels_a=1, channels_b=1).path, tmp_path, name="painting")
    opened = open_page(exported(run, tmp_path / "page.html").as_uri())
    photo(47, 53).save(file := tmp_path / "colours.png")
    made = result(opened, lambda: opened.locator("#file").set_input_files(file))
    theirs = np.asarray(diptych.load(run, device="cpu")(Image.open(file).convert("L")))
    for channel in range(3):
        assert_equal(made[..., channel], theirs)
