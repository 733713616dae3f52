import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from diptych.data.layouts import Place
from diptych.data.pictures import Pixels, encode
from diptych.evaluate import evaluate
from diptych.methods.cyclegan import CycleGAN
from diptych.report import report
from diptych.run import Run, settings_from

PANELS = ["input", "output", "target"]
METRICS = ["l1/8-bit/64px", "psnr/8-bit/64px"]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "a b#c?d%41&e",
    "sub folder/façade 立面",
    "\"quotes\" 'and' `ticks`",
    "<img src=x>",
]


def make_run(path: Path) -> Run:
    run = Run(
        path, "pix2pix", settings_from("pix2pix", {"steps": 40, "sample_every": 10}), Place(path.parent / "my data")
    )
    run.write_settings("diptych train pix2pix --data 'my data' <b>", "9 side-by-side pairs, 512x256, A left", "0")
    return run


def add_log(run: Run, lines: int) -> None:
    with (run.path / "log.jsonl").open("w", encoding="utf-8") as file:
        for i in range(1, lines + 1):
            losses = {"odd <loss>": 1 / i, "another": 100.0 if i == 10 else 0.5}
            file.write(json.dumps({"step": i, "pictures": i, "seconds": i / 2, "lr": 2e-4, "losses": losses}) + "\n")


def add_samples(run: Run, steps: list[int]) -> None:
    (run.path / "samples").mkdir()
    for step in steps:
        encode(Pixels(np.full((32, 24, 3), step, np.uint8)), run.path / f"samples/step-{step:08d}.png")


def add_results(run: Run, names: list[str], pictures: bool = True) -> None:
    """Results whose l1 falls as psnr rises; the last picture was measured by psnr only."""
    folder = run.path / "results/val"
    folder.mkdir(parents=True)
    lines = []
    for i, name in enumerate(names):
        metrics = dict(zip(METRICS, (1 / (i + 1), 10.0 + i), strict=True))
        if i == len(names) - 1:
            del metrics[METRICS[0]]
        lines.append(json.dumps({"name": name, "metrics": metrics, "panels": PANELS}) + "\n")
        for kind, suffix in [*((panel, "png") for panel in PANELS), ("thumbnails", "jpg")] if pictures else []:
            file = folder / kind / f"{name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            encode(Pixels(np.full((8, 24 if suffix == "jpg" else 8, 3), 90, np.uint8)), file)
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def add_metrics(run: Run, step: int, who: str, value: float) -> None:
    line = {
        "time": "2026-11-21T15:00:00+00:00",
        "command": "diptych evaluate",
        "step": step,
        "data": "d",
        "split": "val",
        "count": 9,
        "who": who,
        "metrics": {METRICS[0]: value},
    }
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def embedded(page: Path) -> dict[str, list[dict[str, object]]]:
    """The data as the page's script sees it."""
    found = re.search(r"^const data = (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    data: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine to open the page with")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must neither complain nor ask for anything that is not a file that exists."""
    page = browser.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert complaints == []
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}


def names_of(page: Page) -> list[str]:
    return page.locator("#grid span:first-of-type").all_text_contents()


# ---- what the page says


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a run"):
        report(tmp_path)
    assert not (tmp_path / "index.html").exists()


def test_a_run_that_has_only_begun_says_what_comes_and_which_command_measures(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "begun")
    path = report(str(run.path))
    assert path == run.path / "index.html"
    page.goto(path.as_uri())
    text = page.inner_text("body")
    assert f"diptych evaluate {run.path} --data '{tmp_path / 'my data'}'" in text
    assert "Nothing is logged yet" in text
    assert "first sheet is drawn at step 10" in text
    assert "diptych train pix2pix --data 'my data' <b>" in text
    assert "9 side-by-side pairs, 512x256, A left" in text
    assert "0 of 40" in text


def test_drawn_again_while_training_runs_it_shows_what_is_new(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 10)
    with (run.path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 11, "pictures": 11, "los')
    assert "10 of 40, 0 min 5 s" in report(run.path).read_text(encoding="utf-8")
    add_log(run, 20)
    assert "20 of 40, 0 min 10 s" in report(run.path).read_text(encoding="utf-8")
    assert not list(run.path.glob(".partial*"))


def test_every_setting_is_told_with_its_meaning(tmp_path: Path, page: Page) -> None:
    page.goto(report(make_run(tmp_path / "run").path).as_uri())
    page.locator("summary").click()
    rows = {row.split("\t")[0]: row for row in page.locator("details tbody tr").all_inner_texts()}
    assert "true" in rows["flip"]
    assert "100.0\tWeight of the pixel loss" in rows["method.lambda-l1"]


def test_the_newest_numbers_stand_with_their_step_the_model_first(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 10, "mean training target", 0.5)
    add_metrics(run, 10, "model", 0.4)
    add_metrics(run, 20, "model", 0.3)
    page.goto(report(run.path).as_uri())
    assert page.locator(".numbers th").all_inner_texts()[-1] == METRICS[0]
    rows = page.locator(".numbers tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["model", "val, A to B", "20", "9", "0.3000"],
        ["mean training target", "val, A to B", "10", "9", "0.5000"],
    ]


def test_a_long_log_is_thinned_and_loses_no_extreme(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 20_000)
    path = report(run.path)
    curves = {str(curve["name"]): curve["points"] for curve in embedded(path)["curves"]}
    assert list(curves) == ["odd <loss>", "another", "learning rate"]
    points = curves["another"]
    assert isinstance(points, list)
    assert len(points) == 300
    assert points[-1][0] == 20_000
    assert max(point[3] for point in points) == 100.0
    assert max(point[1] for point in points) < 3
    assert path.stat().st_size < 100_000


# ---- names and addresses


def test_hostile_names_arrive_intact_and_their_pictures_are_found(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "a run #1 <i> 100%")
    add_log(run, 5)
    add_results(run, HOSTILE)
    path = report(run.path)
    assert path.read_text(encoding="utf-8").count("</script>") == 1
    assert sorted(picture[0] for picture in embedded(path)["results"][0]["pictures"]) == sorted(HOSTILE)  # type: ignore[attr-defined]
    page.goto(path.as_uri())
    page.locator("#results").scroll_into_view_if_needed()
    assert page.inner_text("h1") == run.path.name
    assert sorted(names_of(page)) == sorted(HOSTILE)
    page.wait_for_function("[...document.querySelectorAll('#grid img')].every(image => image.naturalWidth === 24)")
    page.locator("#grid button").first.click()
    for _ in HOSTILE:
        page.wait_for_function("[...document.querySelectorAll('#panels img')].every(image => image.naturalWidth === 8)")
        page.keyboard.press("ArrowRight")


def test_a_file_name_that_is_no_unicode_still_leads_to_its_picture(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["broken \udcff name"], pictures=False)
    assert embedded(report(run.path))["results"][0]["pictures"][0][1] == "broken%20%FF%20name"  # type: ignore[index]


def test_nothing_comes_from_outside_and_the_folder_can_be_moved(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 5)
    add_samples(run, [10])
    add_results(run, ["one"])
    add_metrics(run, 10, "model", 0.3)
    text = report(run.path).read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|fetch\(|<link rel=\"stylesheet|<script [^>]*src", text)
    moved = run.path.rename(tmp_path / "sent to a friend")
    page.goto((moved / "index.html").as_uri())
    page.locator("#results").scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.images].every(image => image.naturalWidth > 0) && document.images.length === 2"
    )


def test_an_older_page_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    before = report(run.path).read_text(encoding="utf-8")

    def fill_disk(path: Path, text: str, **options: str) -> None:
        path.write_bytes(text[:100].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        report(run.path)
    assert (run.path / "index.html").read_text(encoding="utf-8") == before


# ---- what the page does


def test_the_slider_and_the_arrows_turn_through_the_sheets(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_samples(run, [10, 20, 30])
    page.goto(report(run.path).as_uri())
    sheet = page.locator("#sheet")
    assert sheet.get_attribute("src") == "samples/step-00000030.png"
    page.keyboard.press("ArrowLeft")
    assert sheet.get_attribute("src") == "samples/step-00000020.png"
    assert page.inner_text("#reached") == "20"
    page.locator("#step").fill("0")
    assert sheet.get_attribute("src") == "samples/step-00000010.png"
    page.locator("#step").press("ArrowRight")
    assert sheet.get_attribute("alt") == "Samples at step 20"


def test_hovering_one_chart_tells_the_value_in_all(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 20)
    page.goto(report(run.path).as_uri())
    captions = page.locator("#charts figcaption")
    assert captions.all_inner_texts()[0].split("\n") == ["odd <loss>", "0.05 at step 20"]
    box = page.locator("svg").first.bounding_box()
    assert box
    page.locator("svg").first.hover(position={"x": box["width"] * 203 / 360, "y": box["height"] / 2})
    assert [text.split("\n")[1] for text in captions.all_inner_texts()] == [
        "0.1 at step 10",
        "100 at step 10",
        "0.0002 at step 10",
    ]


def test_ten_thousand_results_show_one_page_sort_filter_and_jump(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, [f"Picture {i}" for i in range(10_000)], pictures=False)
    path = report(run.path)
    assert path.stat().st_size < 1_000_000
    page.route("**/thumbnails/**", lambda route: route.fulfill(status=200, content_type="image/jpeg", body=b""))
    page.goto(path.as_uri())
    assert page.inner_text("#count") == "10,000 pictures"
    assert names_of(page) == [f"Picture {i}" for i in range(24)]  # 2 before 10, as people count
    page.get_by_role("button", name="Next page").click()
    assert names_of(page) == [f"Picture {i}" for i in range(24, 48)]
    page.get_by_label("Page", exact=True).fill("417")
    page.get_by_label("Page", exact=True).press("Enter")
    assert names_of(page) == [f"Picture {i}" for i in range(9984, 10_000)]
    assert page.get_by_role("button", name="Next page").is_disabled()
    page.get_by_label("Order").select_option(f"{METRICS[0]}, lowest first")
    assert names_of(page)[0] == "Picture 9998"  # 9999 has no such number and comes last
    page.get_by_label("Order").select_option(f"{METRICS[1]}, highest first")
    assert names_of(page)[:2] == ["Picture 9999", "Picture 9998"]
    page.get_by_label("Name has").fill("PICTURE 77")
    assert page.inner_text("#count") == "111 pictures"
    assert names_of(page)[-1] == "Picture 7776"
    assert page.locator("img").count() == 24


def test_numbers_that_are_not_finite_are_told_and_nothing_breaks(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 10, "model", float("inf"))
    add_results(run, ["one", "two"])
    file = run.path / "results/val/results.jsonl"
    file.write_text(file.read_text().replace("10.0", "Infinity").replace("11.0", "NaN"))  # as Python writes them
    page.goto(report(run.path).as_uri())
    page.get_by_label("Order").select_option(f"{METRICS[1]}, lowest first")
    assert page.locator("#grid span:last-of-type").all_text_contents() == ["l1 1 · psnr Infinity", "l1 – · psnr –"]


def test_the_viewer_walks_over_the_page_edge_and_escape_closes_it(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, [f"picture {i}" for i in range(30)])
    page.goto(report(run.path).as_uri())
    page.locator("#grid button").nth(23).click()
    addresses = [unquote(image.get_attribute("src") or "") for image in page.locator("#panels img").all()]
    assert addresses == [f"results/val/{panel}/picture 23.png" for panel in PANELS]
    assert page.locator("#panels img").first.get_attribute("alt") == "input of picture 23"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#who") == "picture 24"
    assert f"{METRICS[1]} 34" in page.inner_text("#values")
    page.get_by_label("Next picture").click()
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.locator("button:focus").get_attribute("title") == "picture 25"


def test_both_ways_of_a_two_way_run(two_way_run: Path, tiny_pairs: Path, tmp_path: Path, page: Page) -> None:
    run = Path(shutil.copytree(two_way_run, tmp_path / "run"))
    evaluate(run, data=tiny_pairs, baselines=True, device="cpu")
    page.goto(report(run).as_uri())
    assert "B to A and back" in page.locator("dl").inner_text()
    assert page.locator("#sheets li").all_inner_texts() == list(CycleGAN.columns)
    sheet = page.locator("#sheet").bounding_box()
    names = [name.bounding_box() for name in page.locator("#sheets li").all()]
    assert sheet is not None
    for number, name in enumerate(names):  # each name stands over its column
        assert name is not None
        assert name["x"] == pytest.approx(sheet["x"] + number * sheet["width"] / 8, abs=6)
    assert [row.split("\t")[:2] for row in page.locator(".numbers tbody tr").all_inner_texts()] == [
        [who, f"val, {way}"]
        for way in ("A to B", "B to A")
        for who in ("model", "the input as it is", "mean training picture")
    ]
    assert page.locator("#split option").all_inner_texts() == ["val-AtoB", "val-BtoA"]
    page.locator("#grid button").first.click()
    captions = page.locator("#panels figcaption").all_inner_texts()
    assert captions == ["input", "output", "target", "reconstructed", "identity"]


def test_single_pictures_have_no_direction(colouring_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(colouring_run, tmp_path / "run"))
    text = report(run).read_text(encoding="utf-8")
    assert "<dd>colorize</dd>" in text
    assert ", A to B" not in text
