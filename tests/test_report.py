import csv
import io
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page
from safetensors.torch import save_file

import diptych
from diptych import cli
from diptych.data.paths import DataPaths
from diptych.images.files import Pixels, encode
from diptych.report import comparison, report
from diptych.training.run import Run
from diptych.training.settings import settings_from

PANELS = ["input", "output", "target"]
SHADES = {"input": 250, "output": 5, "target": 120}
METRICS = ["l1/8-bit/64px", "psnr/8-bit/64px"]
TITLES = {
    "tiny_run": ["input", "output", "target"],
    "two_way_run": [
        "real x",
        "translated G(x)",
        "reconstructed F(G(x))",
        "identity F(x)",
        "real y",
        "translated F(y)",
        "reconstructed G(F(y))",
        "identity G(y)",
    ],
    "colouring_run": ["input", "output", "target"],
    "completion_run": ["input", "output", "target"],
    "sampling_run": [],  # its ten columns are only counted
}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "a b#c?d%41&e",
    "sub folder/façade 立面",
    "\"quotes\" 'and' `ticks`",
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {# #}",
]


def make_run(path: Path, data_b: Path | None = None, **settings: Any) -> Run:
    given = {"steps": 40, "sample_every": 10, **settings}
    run = Run(path, "pix2pix", settings_from("pix2pix", given), DataPaths(path.parent / "my data", data_b))
    run.write_settings("diptych train pix2pix --data 'my data' <b>", "9 side-by-side pairs, 512x256, A left", "0")
    return run


def add_lines(run: Run, lines: Sequence[dict[str, Any]]) -> None:
    """A log of such lines, one a step; what a line leaves out is what an early version wrote."""
    with (run.path / "log.jsonl").open("w", encoding="utf-8") as file:
        for i, line in enumerate(lines, start=1):
            early = {"step": i, "pictures": i, "seconds": i / 2, "lr": 2e-4, "losses": {"G": 0.5}}
            file.write(json.dumps(early | line) + "\n")


def add_log(run: Run, lines: int) -> None:
    add_lines(
        run,
        [
            {"losses": {"odd <loss>": 1 / i, "another": 100.0 if i == 10 else 0.5 + i % 2 / 4}}
            for i in range(1, lines + 1)
        ],
    )


def add_samples(run: Run, steps: list[int]) -> None:
    (run.path / "samples").mkdir()
    for step in steps:
        encode(Pixels(np.full((32, 24, 3), step, np.uint8)), run.path / f"samples/step-{step:08d}.png")


def add_results(run: Run, names: list[str], pictures: bool = True, shade: int = SHADES["output"]) -> None:
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
            value = shade if kind == "output" else SHADES.get(kind, 90)
            encode(Pixels(np.full((8, 24 if suffix == "jpg" else 8, 3), value, np.uint8)), file)
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def keep_best(run: Run, step: int) -> None:
    (run.path / "model-best").mkdir()
    save_file({"weight": torch.zeros(1)}, run.path / "model-best/model.safetensors", metadata={"step": str(step)})


def add_metrics(run: Run, step: int, who: str, metrics: dict[str, float], **more: Any) -> None:
    line = {
        "time": "2026-11-21T15:00:00+00:00",
        "command": "diptych evaluate",
        "step": step,
        "data": "d",
        "split": "val",
        "count": 9,
        "who": who,
        "metrics": metrics,
        **more,
    }
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def embedded(page: Path) -> dict[str, Any]:
    """The data as the page's script sees it."""
    found = re.search(r"^const data = (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page that must neither complain nor ask for anything that is not a file that exists."""
    complaints: list[str] = []
    asked: list[str] = []
    pages = []

    def open_page(path: Path | None = None, script: str = "", **options: Any) -> Page:
        page = browser.new_page(**options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.on("request", lambda request: asked.append(request.url))
        pages.append(page)
        if script:
            page.add_init_script(script)
        if path:
            page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()


def reload_until(page: Page, script: str, wanted: object) -> None:
    """On a busy machine the browser gives a page reloaded at once the storage from before what it has just kept."""
    for _ in range(20):
        page.reload()
        if page.evaluate(script) == wanted:
            return
    assert page.evaluate(script) == wanted


def names_of(page: Page) -> list[str]:
    return page.locator("#grid span:first-of-type").all_text_contents()


def whole_run(path: Path) -> Run:
    """A run that has something in every section."""
    run = make_run(path)
    heart = {
        "finding": "the discriminator has won",
        "of": "D",
        "saw": "D_real 0.001",
        "try": "--method.adversarial lsgan",
    }
    add_lines(
        run,
        [
            {
                "doctor": [heart] if 5 < i < 12 else [],
                "gradients": {"generator": 1 + i % 3, "discriminator": 2.0},
                **({"validation": {"ssim/8-bit/64px": i / 40}} if i % 10 == 0 else {}),
            }
            for i in range(1, 41)
        ],
    )
    keep_best(run, 40)
    add_samples(run, [10, 20, 30])
    add_results(run, [f"picture {i}" for i in range(30)])
    add_metrics(run, 10, "model", {f"kid/a-very-long-name-of-a-network/{'x' * 40}/8-bit/64px": 0.3})
    return run


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
    page.locator("#settings summary").click()
    text = page.inner_text("body")
    assert f"diptych evaluate {run.path} --data '{tmp_path / 'my data'}'" in text
    assert "Nothing is logged yet" in text
    assert "first sheet is drawn at step 10" in text
    assert "diptych train pix2pix --data 'my data' <b>" in text
    assert "9 side-by-side pairs, 512x256, A left" in text
    assert "0 of 40" in text
    for key in ("Escape", "ArrowLeft", "p"):  # there is nothing to act on, and nothing happens
        page.keyboard.press(key)


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
    page.locator("#settings summary").click()
    rows = {row.split("\t")[0]: row for row in page.locator("#settings tbody tr").all_inner_texts()}
    assert "true" in rows["flip"]
    assert "100.0\tWeight of the pixel loss" in rows["method.lambda-l1"]


def test_two_folders_of_data_are_both_told(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, tmp_path / "others").path for name in ("one", "two")]
    assert f"Data: {tmp_path}/my data and {tmp_path}/others<br>" in report(runs[0]).read_text(encoding="utf-8")
    text = report(*runs, out=tmp_path / "out").read_text(encoding="utf-8")
    assert "my data and others: 9 side-by-side pairs" in text


def test_the_newest_numbers_stand_with_their_step_the_model_first(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 10, "mean training target", {METRICS[0]: 0.5})
    add_metrics(run, 10, "model", {METRICS[0]: 0.4})
    add_metrics(run, 20, "model", {METRICS[0]: 0.3})
    page.goto(report(run.path).as_uri())
    header = page.locator(".numbers th .metric")
    assert header.inner_text().split() == ["L1", "error", "↓", "(lower", "is", "better)"]
    assert header.get_attribute("title") == METRICS[0]
    page.get_by_text("How these were measured").click()  # where nothing can point
    assert page.inner_text(".protocols li") == f"L1 error: {METRICS[0]}"
    rows = page.locator(".numbers tbody tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["model", "0.3000", "val, A to B", "20", "9"],
        ["mean training target", "0.5000", "val, A to B", "–", "9"],
    ]


def test_the_best_model_is_told_where_it_is_not_the_last(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 20, "model", {METRICS[0]: 0.4})
    for step, names in ((20, ["model"]), (10, ["model", "best"])):
        add_metrics(run, step, "best", {METRICS[0]: 0.4})
        page.goto(report(run.path).as_uri())
        assert page.locator(".numbers td.who").all_inner_texts() == names


def test_the_best_of_a_column_is_bold_and_the_truth_is_no_answer(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 10, "model", {"psnr/p": 13.0, "l1/p": 0.1, "colourfulness/p": 9.0, "ssim/p": 0.5, "fid/p": 3.0})
    add_metrics(run, 10, "mean training target", {"psnr/p": 1414.2, "l1/p": 0.2, "colourfulness/p": 1.0, "ssim/p": 0.5})
    add_metrics(run, 10, "held-out pictures", {"psnr/p": 99.0, "l1/p": 0.0})
    add_metrics(run, 10, "model", {"psnr/p": 20.0}, split="test")
    page.goto(report(run.path).as_uri())
    assert page.locator(".numbers b").all_inner_texts() == ["0.1000", "1414"]


def test_a_number_has_its_standard_error_and_what_was_not_measured_its_reason(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    kid, why = "kid/inception/1000", {"fid": "the weights <b> are missing"}
    add_metrics(run, 10, "model", {kid: 0.05123, "l1": 0.1}, **{"standard-error": {kid: 0.00123}, "not-measured": why})
    add_metrics(run, 10, "mean training target", {"l1": 0.2}, **{"not-measured": why})
    page.goto(report(run.path).as_uri())
    assert page.locator(".numbers tbody tr").first.locator("td").nth(1).inner_text() == "0.05123 ± 0.0012"
    assert page.inner_text("#numbers").count("Not measured: fid: the weights <b> are missing") == 1


def test_a_long_log_is_thinned_and_loses_no_extreme(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 20_000)
    path = report(run.path)
    curves = embedded(path)["curves"]
    [group] = curves["groups"]
    assert [chart["name"] for chart in group["charts"]] == ["odd <loss>", "another", "learning rate"]
    assert len(curves["steps"]) == 1  # all of them share it
    assert len(curves["steps"][0]) == 2000
    assert curves["steps"][0][-1] == 20_000
    [curve] = group["charts"][1]["curves"]
    assert max(curve["highs"]) == 100.0
    assert max(curve["means"]) < 11
    assert path.stat().st_size < 200_000


# ---- the doctor


def words_of_the_doctor(run: Run, page: Page) -> list[list[str]]:
    page.goto(report(run.path).as_uri())
    return [[line for line in text.split("\n") if line] for text in page.locator("#doctor article").all_inner_texts()]


def test_the_doctor_tells_each_finding_once_and_what_is_still_there_first(tmp_path: Path, page: Page) -> None:
    def said(finding: str, saw: str) -> dict[str, str]:
        return {"finding": finding, "of": "D", "saw": saw, "try": f"--{finding}"}

    run = make_run(tmp_path / "run")
    won, both = [said("won", "at first")], [said("won", "D_X 0.1"), said("won", "D_Y 0.2")]
    add_lines(run, [{}, *({"doctor": found} for found in (won, both, [], [], [said("<i>", "1")], [said("<i>", "2")]))])
    assert words_of_the_doctor(run, page) == [
        ["<i>", "since step 6, still there at step 7", "2", "Try: --<i>"],
        ["Won", "steps 2 to 3", "D_X 0.1", "D_Y 0.2", "Try: --won"],
    ]
    assert page.locator("svg").first.locator("path.finding").count() == 2
    add_lines(run, [{"doctor": found} for found in ([said("won", "a")], [], [said("won", "b")])])
    assert words_of_the_doctor(run, page)[0][1] == "since step 1, on and off, still there at step 3"


def test_a_doctor_without_findings_says_so_and_an_older_run_has_none(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_lines(run, [{}, {"doctor": []}])
    page.goto(report(run.path).as_uri())
    assert page.inner_text("#doctor p") == "No problems found."
    assert page.locator("nav a", has_text="Doctor").count() == 1
    add_lines(run, [{}, {}])
    page.goto(report(run.path).as_uri())
    assert page.locator("#doctor").count() == page.locator("nav a", has_text="Doctor").count() == 0


# ---- names and addresses


def test_hostile_names_arrive_intact_and_their_pictures_are_found(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "a run #1 <i> 100%")
    add_log(run, 5)
    add_results(run, HOSTILE)
    add_metrics(run, 5, HOSTILE[0], {f"<b>/{HOSTILE[4]}": 1.0})
    path = report(run.path)
    assert path.read_text(encoding="utf-8").count("</script>") == 2
    assert sorted(picture[0] for picture in embedded(path)["results"][0]["pictures"]) == sorted(HOSTILE)
    page.goto(path.as_uri())
    page.locator("#results").scroll_into_view_if_needed()
    assert page.inner_text("h1") == run.path.name
    assert page.locator(".numbers td").first.inner_text() == HOSTILE[0]
    assert page.locator(".numbers th .metric").get_attribute("title") == f"<b>/{HOSTILE[4]}"
    assert sorted(names_of(page)) == sorted(HOSTILE)
    page.locator("#grid").scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('#grid img')].every(image => image.naturalWidth === 24)")
    page.locator("#grid button").first.click()
    for divided in (False, True):
        page.locator("#over" if divided else "#apart").click()
        for _ in HOSTILE:
            page.wait_for_function(
                "[...document.querySelectorAll('#panels img')].every(image => image.naturalWidth === 8)"
            )
            page.keyboard.press("ArrowLeft" if divided else "ArrowRight")


def test_a_file_name_that_is_no_unicode_still_leads_to_its_picture(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["broken \udcff name"], pictures=False)
    assert embedded(report(run.path))["results"][0]["pictures"][0][1] == "broken%20%FF%20name"


NOT_FROM_HERE = r"https?:|url\(|@import|fetch\(|<link rel=\"stylesheet|<script [^>]*src"


def test_nothing_comes_from_outside_and_the_folder_can_be_moved(tmp_path: Path, page: Page) -> None:
    run = whole_run(tmp_path / "run")
    text = report(run.path).read_text(encoding="utf-8")
    assert not re.search(NOT_FROM_HERE, text)
    moved = run.path.rename(tmp_path / "sent to a friend")
    page.goto((moved / "index.html").as_uri())
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function(
        "[...document.images].every(image => image.naturalWidth > 0) && document.images.length === 18 + 1 + 10 + 24"
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


# ---- samples over time


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


def test_play_shows_every_sheet_from_the_first_and_stops_at_the_last(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_samples(run, [10, 20, 30])
    page.goto(report(run.path).as_uri())
    page.evaluate("""window.seen = []; new MutationObserver(() => seen.push(find("sheet").alt))
        .observe(find("sheet"), {attributeFilter: ["alt"]})""")
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("seen.length === 3")
    assert page.evaluate("seen") == [f"Samples at step {step}" for step in (10, 20, 30)]
    page.get_by_role("button", name="Play").wait_for()  # it has come to rest
    page.keyboard.press("p")
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").count() == 1
    assert page.locator("#sheet").get_attribute("alt") == "Samples at step 10"


# ---- curves


def place_of(chart: Locator, step: float, of: tuple[float, float]) -> tuple[float, float]:
    """Where a step lies in the middle of a chart that shows the steps `of`."""
    box = chart.bounding_box()
    assert box
    share = (step - of[0]) / (of[1] - of[0])
    return box["x"] + box["width"] * (46 + 314 * share) / 360, box["y"] + box["height"] / 2


def captions(page: Page) -> list[str]:
    return page.locator("#charts figcaption").all_inner_texts()


def test_hovering_one_chart_tells_the_value_in_all(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_log(run, 20)
    page.goto(report(run.path).as_uri())
    assert captions(page)[0].split("\n") == ["odd <loss>", "0.05 at step 20"]
    page.locator(".charts").scroll_into_view_if_needed()
    page.mouse.move(*place_of(page.locator("#charts figure > svg").first, 10, (0, 20)))
    assert [text.split("\n")[1] for text in captions(page)] == [
        "0.1 at step 10",
        "100 at step 10",
        "0.0002 at step 10",
    ]


def test_a_dragged_range_fills_all_charts_with_more_detail(tmp_path: Path, page: Page) -> None:
    """A spike of one step in 1,500 is a range in the overview, and its own point once somebody looks closer."""
    run = make_run(tmp_path / "run")
    add_lines(run, [{"losses": {"G": 9.0 if i == 752 else 1.0, "D": float(i)}} for i in range(1500)])
    page.goto(report(run.path).as_uri())
    charts = page.locator("#charts figure > svg")
    charts.first.scroll_into_view_if_needed()
    page.mouse.move(*place_of(charts.first, 755, (0, 1500)))
    assert "2.6 (1 to 9) at step 755" in captions(page)[0]  # five steps are one point
    page.mouse.down()
    page.mouse.move(*place_of(charts.first, 600, (0, 1500)), steps=4)
    assert all(
        float(width) > 10 for width in [one.get_attribute("width") or "0" for one in page.locator(".selection").all()]
    )
    page.mouse.up()
    seen = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", page.inner_text("#seen"))]
    assert seen == pytest.approx([600, 755], abs=4)
    page.mouse.move(*place_of(charts.nth(1), 753, (seen[0], seen[1])))
    assert "9 at step 753" in captions(page)[0]
    assert "752 at step 753" in captions(page)[1]
    lowest = charts.nth(1).locator("text").first.text_content() or ""
    assert float(lowest) >= 590  # the other axis follows too
    charts.nth(2).dblclick()
    assert page.inner_text("#seen") == ""
    assert page.get_by_role("button", name="All steps").is_disabled()


def test_zoom_and_mark_by_keyboard(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_samples(run, [10, 20])
    add_log(run, 100)
    page.goto(report(run.path).as_uri())
    page.get_by_role("button", name="Zoom in").focus()
    page.keyboard.press("Tab")  # what there is to zoom out of comes later
    assert page.evaluate("document.activeElement.tagName") == "svg"
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert "at step 88" in captions(page)[1]
    assert page.locator("#sheet").get_attribute("alt") == "Samples at step 20"  # the arrows were the chart's
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.inner_text("#seen") == "steps 75 to 100"
    for _ in range(2):
        page.keyboard.press("Shift+ArrowLeft")
    assert "at step 68" in captions(page)[1]
    assert page.inner_text("#seen") == "steps 56 to 81"  # what is seen goes with the mark
    page.keyboard.press("-")
    assert page.inner_text("#seen") != ""
    page.keyboard.press("Escape")
    assert page.inner_text("#seen") == ""


def test_smoothing_is_the_weighted_mean_of_what_came_before_and_leaves_the_rest_alone(
    tmp_path: Path, page: Page
) -> None:
    values = np.random.default_rng(0).uniform(1, 2, 50)
    run = make_run(tmp_path / "run")
    add_lines(run, [{"losses": {"G": value}, "validation": {"ssim/p": value}} for value in values.tolist()])
    page.goto(report(run.path).as_uri())
    assert page.locator(".raw").count() == 0
    page.get_by_label("Smoothing").fill("0.9")
    weights = 0.9 ** np.arange(49, -1, -1)
    expected = float((weights * values).sum() / weights.sum())
    ssim, G, learning_rate = captions(page)
    assert float(G.split("smoothed ")[1]) == pytest.approx(expected, abs=6e-4)
    assert f"{values[-1]:.4g} at step 50" in G
    assert "smoothed" not in ssim + learning_rate
    assert page.locator(".raw").count() == 1


def test_on_a_logarithmic_scale_equal_factors_are_equal_distances(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_lines(run, [{"losses": {"G": 10.0**i, "signed": float(i)}} for i in (-2, -1, 0, 1)])
    page.goto(report(run.path).as_uri())

    def heights(chart: int) -> list[float]:
        path = page.locator("#charts figure").nth(chart).locator(".line").get_attribute("d") or ""
        return [float(point.split()[1]) for point in re.findall(r"[\d.]+ [\d.]+", path)]

    signed = heights(1)
    assert np.ptp(np.diff(heights(0))) > 1
    page.get_by_label("Logarithmic").check()
    assert np.diff(heights(0)) == pytest.approx([np.diff(heights(0))[0]] * 3, abs=0.2)
    assert heights(1) == signed  # it has values that no logarithm has
    assert page.locator("#charts figure").first.locator("text").all_text_contents()[:4] == ["0.01", "0.1", "1", "10"]


def test_validation_has_charts_of_its_own_and_the_best_step_is_marked(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    ssims = {10: 0.2, 20: 0.5, 30: 0.6, 40: 0.4}
    add_lines(
        run,
        [
            {"validation": {"ssim/8-bit/64px": ssims[i], "l1/p": 1 - ssims[i]}} if i in ssims else {}
            for i in range(1, 41)
        ],
    )
    keep_best(run, 30)
    page.goto(report(run.path).as_uri())
    assert page.locator("#charts h3").all_inner_texts() == ["Validation", "Losses and learning rate"]
    assert captions(page)[0].split("\n") == ["SSIM↑ higher is better", "0.4 at step 40"]
    assert "↓ lower is better" in captions(page)[1]
    assert page.locator("header dl").inner_text().split("\n").count("step 30, in model-best/") == 1
    assert [page.locator("#charts figure").nth(n).locator("circle.best").count() for n in range(4)] == [1, 1, 0, 0]
    circle = page.locator("circle.best").first
    assert float(circle.get_attribute("cx") or 0) == pytest.approx(46 + 314 * 30 / 40)
    shutil.rmtree(run.path / "model-best")
    add_log(run, 5)
    page.goto(report(run.path).as_uri())
    assert "model-best" not in page.inner_text("body")
    assert page.locator("#charts h3").all_inner_texts() == ["Losses and learning rate"]


def test_gradients_have_charts_after_the_losses(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_lines(
        run, [{}, {"gradients": {"generator": 1.5, "D <b>": math.inf}}, {"gradients": {"generator": 2.5, "D <b>": 1.0}}]
    )
    page.goto(report(run.path).as_uri())
    assert page.locator("#charts h3").all_inner_texts() == ["Losses and learning rate", "Gradient norms"]
    assert captions(page)[2:] == ["generator\n2.5 at step 3", "D <b>\n1 at step 3"]


# ---- what is at the top


def test_results_or_else_the_last_samples_are_at_the_top(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_samples(run, [10, 20])
    page.goto(report(run.path).as_uri())
    assert page.locator("header .hero img").get_attribute("src") == "samples/step-00000020.png"
    add_results(run, [f"picture {i}" for i in range(12)])
    page.goto(report(run.path).as_uri())
    images = page.locator("header .hero img")
    alts = [image.get_attribute("alt") for image in images.all()]
    assert alts[:6] == [f"input of picture {i}" for i in (0, 10, 2, 4, 6, 8)]  # every second by name
    assert [str(alt).split(" of ")[0] for alt in alts] == [panel for panel in PANELS for _ in range(6)]
    page.wait_for_function("[...document.querySelectorAll('.hero img')].every(image => image.naturalWidth === 8)")
    assert images.first.bounding_box()["y"] < 400  # type: ignore[index]


# ---- results


def test_ten_thousand_results_show_one_page_sort_filter_and_jump(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, [f"Picture {i}" for i in range(10_000)], pictures=False)
    path = report(run.path)
    assert path.stat().st_size < 1_000_000
    page.route("**/results/**", lambda route: route.fulfill(status=200, content_type="image/jpeg", body=b""))
    page.goto(path.as_uri())
    assert page.inner_text("#count") == "10,000 pictures"
    assert names_of(page) == [f"Picture {i}" for i in range(24)]  # 2 before 10, as people count
    page.get_by_role("button", name="Next page").click()
    assert names_of(page) == [f"Picture {i}" for i in range(24, 48)]
    page.get_by_label("Page", exact=True).fill("417")
    page.get_by_label("Page", exact=True).press("Enter")
    assert names_of(page) == [f"Picture {i}" for i in range(9984, 10_000)]
    assert page.get_by_role("button", name="Next page").is_disabled()
    page.get_by_label("Order").select_option("L1 error, lowest first")
    assert names_of(page)[0] == "Picture 9998"  # 9999 has no such number and comes last
    page.get_by_label("Order").select_option("PSNR (dB), highest first")
    assert names_of(page)[:2] == ["Picture 9999", "Picture 9998"]
    page.get_by_label("Name has").fill("PICTURE 77")
    assert page.inner_text("#count") == "111 pictures"
    assert names_of(page)[-1] == "Picture 7776"
    assert page.locator("#grid img").count() == 24


def test_numbers_that_are_not_finite_are_told_and_nothing_breaks(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_metrics(run, 10, "model", {METRICS[0]: float("inf")})
    add_results(run, ["one", "two"])
    file = run.path / "results/val/results.jsonl"
    file.write_text(file.read_text().replace("10.0", "Infinity").replace("11.0", "NaN"))  # as Python writes them
    page.goto(report(run.path).as_uri())
    page.get_by_label("Order").select_option("PSNR (dB), lowest first")
    assert page.locator("#grid span:last-of-type").all_text_contents() == [
        "L1 error 1 · PSNR (dB) Infinity",
        "L1 error – · PSNR (dB) –",
    ]


def cases(page: Page, which: str) -> list[str]:
    return page.locator(f"#{which} span:first-of-type").all_text_contents()


def test_the_worst_and_the_best_by_a_metric(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, [f"picture {i}" for i in range(20)])
    file = run.path / "results/val/results.jsonl"
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for i, entry in enumerate(entries):
        entry["metrics"] |= {"colourfulness/p": i, **({"ssim/p": i} if i < 4 else {})}
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    page.goto(report(run.path).as_uri())
    assert cases(page, "worst") == [f"picture {i}" for i in range(5)]  # the highest l1
    assert cases(page, "best") == [f"picture {i}" for i in (18, 17, 16, 15, 14)]  # 19 has none
    assert page.locator("#worst span:last-of-type").first.inner_text() == "L1 error 1"
    page.get_by_label("Worst and best by").select_option("PSNR (dB)")
    assert cases(page, "worst") == [f"picture {i}" for i in range(5)]  # the lowest psnr
    assert cases(page, "best")[0] == "picture 19"
    assert page.locator("#cases h3").all_inner_texts() == ["Worst", "Best", "All"]
    page.get_by_label("Worst and best by").select_option("SSIM")
    assert (cases(page, "worst"), cases(page, "best")) == (["picture 0", "picture 1"], ["picture 3", "picture 2"])
    page.get_by_label("Worst and best by").select_option("Colourfulness")
    assert page.locator("#cases h3").all_inner_texts() == ["Lowest", "Highest", "All"]
    page.locator("#best button").nth(1).click()
    assert page.inner_text("#who") == "picture 18"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.title === 'picture 17'")
    assert names_of(page)[0] == "picture 0"


# ---- the viewer


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
    assert "PSNR (dB) 34" in page.inner_text("#values")
    page.get_by_label("Next picture").click()
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    page.wait_for_function("document.activeElement.title === 'picture 25'")


def test_zoomed_pictures_show_their_pixels_and_move_together(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["one", "two"])
    for panel in PANELS:
        encode(Pixels(np.zeros((300, 500, 3), np.uint8)), run.path / "results/val" / panel / "one.png")
    page.set_viewport_size({"width": 900, "height": 600})
    page.goto(report(run.path).as_uri())
    page.locator("#grid button").first.click()
    page.get_by_role("button", name="4×").click()
    page.wait_for_function("[...document.querySelectorAll('#panels img')].every(image => image.clientWidth === 2000)")
    assert page.inner_text("#pixels") == "500 × 300 px"
    assert page.locator("#panels img").first.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"
    page.locator(".pan").first.evaluate("one => one.scrollTo(300, 200)")
    page.wait_for_function(
        "[...document.querySelectorAll('.pan')].every(one => one.scrollLeft === 300 && one.scrollTop === 200)"
    )
    page.keyboard.press("d")
    page.wait_for_function("document.querySelector('#box').clientWidth === 2000")
    assert page.evaluate("find('viewer').scrollWidth <= find('viewer').clientWidth")
    page.keyboard.press("0")
    page.wait_for_function("document.querySelector('#box').clientWidth < 900")


def shades(page: Page, *shares: float) -> list[int]:
    """How light the two pictures under the divider are at these shares of their width, a quarter from below."""
    picture = np.asarray(Image.open(io.BytesIO(page.locator("#box").screenshot())).convert("L"))
    height, width = picture.shape
    return [int(picture[height * 3 // 4, int(share * width)]) for share in shares]


def open_divider(page: Page, run: Run) -> Locator:
    page.goto(report(run.path).as_uri())
    page.locator("#grid button").first.click()
    page.keyboard.press("d")
    page.wait_for_function("[...document.querySelectorAll('#box img')].every(image => image.naturalWidth > 0)")
    return page.get_by_role("slider", name="Divider between")


def test_the_divider_shows_one_picture_on_each_side_and_follows_the_mouse(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["one", "two"])
    divider = open_divider(page, run)
    assert divider.get_attribute("aria-label") == "Divider between input and output"
    assert shades(page, 0.1, 0.4, 0.6, 0.9) == [250, 250, 5, 5]
    box = page.locator("#box").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 90)
    assert divider.get_attribute("aria-valuenow") == "40"
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 90)
    page.mouse.up()
    page.mouse.move(box["x"] + 10, box["y"] + 50)  # let go, it stays
    assert divider.get_attribute("aria-valuenow") == "75"
    assert shades(page, 0.1, 0.6, 0.9) == [250, 250, 5]
    page.get_by_role("button", name="output | target").click()
    assert shades(page, 0.1, 0.9) == [5, 120]
    page.get_by_label("Left").select_option("target")
    page.get_by_label("right").select_option("input")
    assert shades(page, 0.1, 0.9) == [120, 250]
    page.keyboard.press("Escape")
    page.locator("#grid button").nth(1).click()
    assert shades(page, 0.1, 0.9) == [120, 250]  # as it was left
    page.get_by_role("button", name="Side by side").click()
    assert page.locator("#panels figcaption").all_inner_texts() == PANELS


def test_the_divider_moves_by_its_arrows_which_then_turn_no_picture(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["one", "two"])
    divider = open_divider(page, run)
    said = []
    divider.focus()
    for key in ("ArrowLeft", "Shift+ArrowRight", "End", "ArrowRight", "Home", "ArrowUp"):
        page.keyboard.press(key)
        said.append(divider.get_attribute("aria-valuenow"))
    assert said == ["48", "58", "100", "100", "0", "2"]
    assert divider.get_attribute("aria-valuetext") == "2 % input"
    assert page.inner_text("#who") == "one"
    page.locator("#close").focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#who") == "two"


def test_the_divider_follows_a_finger(tmp_path: Path, open_page: Open) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["one"])
    page = open_page(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    divider = open_divider(page, run)
    box = page.locator("#box").bounding_box()
    assert box
    fingers = page.context.new_cdp_session(page)
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.4), ("touchMove", 0.2)):
        point = {"x": box["x"] + share * box["width"], "y": box["y"] + 60}
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    page.wait_for_function("find('divider').getAttribute('aria-valuenow') === '20'")
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert divider.get_attribute("aria-valuenow") == "20"


def test_pictures_of_one_panel_have_no_divider(tmp_path: Path, page: Page) -> None:
    run = make_run(tmp_path / "run")
    add_results(run, ["one"])
    file = run.path / "results/val/results.jsonl"
    file.write_text(json.dumps({"name": "one", "metrics": {}, "panels": ["output"]}) + "\n")
    page.goto(report(run.path).as_uri())
    assert not page.locator("#cases").is_visible()  # and without numbers no best
    page.locator("#grid button").click()
    page.keyboard.press("d")
    assert not page.locator("#ways").is_visible()
    assert page.locator("#panels figure").count() == 1


# ---- for everybody


def test_colours_follow_the_system_until_somebody_chooses_and_the_choice_is_kept(
    tmp_path: Path, open_page: Open
) -> None:
    path = report(make_run(tmp_path / "run").path)
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = open_page(path, color_scheme="light"), open_page(path, color_scheme="dark")
    of_light, of_dark = light.evaluate(paper), dark.evaluate(paper)
    assert of_light != of_dark
    dark.get_by_label("Theme").select_option("light")
    assert dark.evaluate(paper) == of_light
    reload_until(dark, paper, of_light)
    assert dark.get_by_label("Theme").input_value() == "light"
    dark.get_by_label("Theme").select_option("system")
    assert dark.evaluate(paper) == of_dark


def test_a_browser_that_gives_no_storage_changes_colours_all_the_same(tmp_path: Path, open_page: Open) -> None:
    denied = (
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied', 'SecurityError') }})"
    )
    page = open_page(report(make_run(tmp_path / "run").path), script=denied, color_scheme="light")
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_stand_out_from_the_paper(tmp_path: Path, open_page: Open, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for words, 1.4.11: 3 to 1 for what is drawn."""
    page = open_page(report(make_run(tmp_path / "run").path), color_scheme=scheme)

    def luminance(name: str) -> float:
        page.evaluate("name => { document.body.style.color = `var(--${name})` }", name)
        colour = page.evaluate("getComputedStyle(document.body).color")
        values = np.array([int(number) for number in re.findall(r"\d+", colour)]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for back in ("paper", "panel"):
        for name, least in [
            *((text, 4.5) for text in ("ink", "quiet", "accent", "warm")),
            *((f"run-{n}", 3) for n in range(8)),
        ]:
            darker, lighter = sorted((luminance(back), luminance(name)))
            assert (lighter + 0.05) / (darker + 0.05) >= least, (scheme, back, name)


def test_a_question_mark_opens_the_keys_and_escape_closes_them(tmp_path: Path, page: Page) -> None:
    page.goto(report(whole_run(tmp_path / "run").path).as_uri())
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    assert "play the samples" in page.inner_text("#keys")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#sheet").get_attribute("alt") == "Samples at step 30"  # what is below sleeps
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.get_by_label("Name has").press("?")
    assert not page.locator("#keys").is_visible()
    page.get_by_role("button", name="Keys").click()
    assert page.locator("#keys").is_visible()


def test_everything_is_reached_by_the_tab_key_has_a_name_and_shows_that_it_has_the_focus(
    tmp_path: Path, page: Page
) -> None:
    page.goto(report(whole_run(tmp_path / "run").path).as_uri())
    expected = page.evaluate("""[...document.querySelectorAll("a, button, input, select, summary, [tabindex]")]
        .filter(one => one.checkVisibility() && !one.disabled).length""")
    reached = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
                const one = document.activeElement
                one.dataset.reached = true
                const name = one.ariaLabel || one.labels?.[0]?.textContent || one.textContent
                return [one.tagName, name.trim() !== "", getComputedStyle(one).outlineStyle !== "none"]
            }""")
        )
    assert page.locator("[data-reached]").count() == expected
    assert all(named and outlined for _, named, outlined in reached), reached


def test_landmarks_and_less_motion(tmp_path: Path, open_page: Open) -> None:
    page = open_page(report(whole_run(tmp_path / "run").path), reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    for role in ("banner", "main", "navigation"):
        assert page.get_by_role(role).count() == 1
    for name in ("Numbers", "Doctor", "Curves", "Samples", "Results"):
        assert page.get_by_role("region", name=name, exact=True).count() == 1


def test_on_paper_it_is_light_and_has_charts_samples_and_the_first_results(tmp_path: Path, open_page: Open) -> None:
    page = open_page(report(whole_run(tmp_path / "run").path), color_scheme="dark")
    page.get_by_label("Theme").select_option("dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.charts figure')).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    for part in (
        ".charts svg",
        "#sheet",
        "#reached",
        "#worst img",
        "#grid img",
        "#settings table",
        ".numbers",
        "#doctor article",
    ):
        assert page.locator(part).first.is_visible(), part
    page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)")
    for part in ("nav", "#play", "#pager", "#smoothing", "#colours", "#help"):
        assert not page.locator(part).is_visible(), part
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_never_scrolls_sideways(tmp_path: Path, open_page: Open, width: int) -> None:
    run = whole_run(tmp_path / f"a-run-with-a-{'very' * 30}-long-name")
    page = open_page(report(run.path), viewport={"width": width, "height": 700})
    page.locator("#settings summary").click()
    page.locator("#grid button").first.click()
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("find('viewer').scrollWidth <= find('viewer').clientWidth")
        page.keyboard.press("d")


# ---- methods


def test_both_ways_of_a_two_way_run(two_way_run: Path, tiny_pairs: Path, tmp_path: Path, page: Page) -> None:
    run = Path(shutil.copytree(two_way_run, tmp_path / "run"))
    diptych.evaluate(run, data=tiny_pairs, baselines=True, device="cpu")
    page.goto(report(run).as_uri())
    assert "B to A and back" in page.locator("dl").first.inner_text()
    assert page.locator(".sheets li").all_inner_texts() == TITLES["two_way_run"]
    sheet = page.locator("#sheet").bounding_box()
    names = [name.bounding_box() for name in page.locator(".sheets li").all()]
    assert sheet is not None
    for number, name in enumerate(names):  # each name stands over its column
        assert name is not None
        assert name["x"] == pytest.approx(sheet["x"] + number * sheet["width"] / 8, abs=6)
    rows = [row.split("\t") for row in page.locator(".numbers tbody tr").all_inner_texts()]
    assert [[row[0], row[-3]] for row in rows] == [
        [who, f"val, {way}"]
        for way in ("A to B", "B to A")
        for who in ("model", "the input as it is", "mean training picture", "held-out pictures")
    ]
    assert page.locator("#split option").all_inner_texts() == ["val-AtoB", "val-BtoA"]
    page.locator("#grid button").first.click()
    captions = page.locator("#panels figcaption").all_inner_texts()
    assert captions == ["input", "output", "target", "reconstructed", "identity"]


def titles(file: Path) -> list[str]:
    """What stands over the sample sheets of a page."""
    lists = re.findall(r'<ol class="quiet columns">(.*?)</ol>', file.read_text(encoding="utf-8"), re.S)
    return re.findall(r"<li>(.*?)</li>", "".join(lists))


@pytest.mark.parametrize("name", TITLES)
def test_titles_of_samples_are_those_that_the_training_wrote(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """A run of version 0.1 has none beside its samples, and is shown as it was."""
    run = Path(shutil.copytree(request.getfixturevalue(name), tmp_path / "run"))
    written = json.loads((run / "samples/titles.json").read_text(encoding="utf-8"))
    assert written == TITLES[name] or written == [str(number) for number in range(1, 11)]
    assert titles(report(run)) == TITLES[name]
    (run / "samples/titles.json").write_text('["before", "after"]', encoding="utf-8")
    assert titles(report(run)) == ["before", "after"]
    (run / "samples/titles.json").unlink()
    of_0_1 = report(run)
    assert titles(of_0_1) == TITLES[name]
    assert f"--columns: {len(written)};" in of_0_1.read_text(encoding="utf-8")


def test_of_several_runs_each_has_its_own_titles(tiny_run: Path, two_way_run: Path, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(run, tmp_path / run.name)) for run in (tiny_run, two_way_run)]
    (runs[0] / "samples/titles.json").write_text('["before", "after", "true"]', encoding="utf-8")
    (runs[1] / "samples/titles.json").unlink()
    assert titles(report(*runs, out=tmp_path / "both")) == ["before", "after", "true", *TITLES["two_way_run"]]


def test_single_pictures_have_no_direction(colouring_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(colouring_run, tmp_path / "run"))
    text = report(run).read_text(encoding="utf-8")
    assert "<dd>colorize</dd>" in text
    assert ", A to B" not in text


# ---- several runs


def two_runs(folder: Path) -> list[Path]:
    """The second is shorter, has another seed and smaller errors, and measured what the first did."""
    one = make_run(folder / "one")
    add_lines(one, [{"losses": {"G": 1.0}, "validation": {"ssim/p": 0.1}} for _ in range(40)])
    keep_best(one, 20)
    add_samples(one, [10, 20, 40])
    add_results(one, [f"picture {i}" for i in range(20)])
    add_metrics(one, 40, "model", {METRICS[0]: 0.3})
    two = make_run(folder / "two <b>", steps=20, seed=7)
    add_lines(two, [{"losses": {"G": 2.0, "of two": 3.0}} for _ in range(20)])
    add_samples(two, [5, 10, 20])
    add_results(two, [f"picture {i}" for i in (*range(10, 20), 99)], shade=180)
    add_metrics(two, 20, "model", {METRICS[0]: 0.2})
    return [one.path, two.path]


@pytest.fixture
def compared(tmp_path: Path, page: Page) -> Page:
    """A comparison, sent to somebody who has none of the runs."""
    runs = two_runs(tmp_path / "runs")
    path = report(*runs, out=tmp_path / "deep" / "comparison")
    assert path == tmp_path / "deep" / "comparison" / "index.html"
    shutil.rmtree(tmp_path / "runs")
    assert not re.search(NOT_FROM_HERE, path.read_text(encoding="utf-8"))
    moved = path.parent.rename(tmp_path / "sent #1")
    page.goto((moved / "index.html").as_uri())
    return page


def test_a_comparison_tells_what_differs_and_folds_what_is_the_same(compared: Page) -> None:
    differ = {
        row.locator("code").inner_text(): row.locator("td").all_inner_texts()
        for row in compared.locator(".settings tbody tr").all()
    }
    assert differ["steps"] == ["40", "20"]
    assert differ["seed"] == ["0", "7"]
    assert "size" not in differ
    assert compared.get_by_text("Length of the run in steps").is_visible()
    assert not compared.get_by_text("Size of the pictures at training").is_visible()
    compared.locator("#settings summary").click()
    assert compared.get_by_text("Size of the pictures at training").is_visible()
    assert compared.locator(".runs tbody tr").all_inner_texts() == [
        "one\tpix2pix, A to B\t256 px\t40 of 40\t0 min 20 s\tstep 20",
        "two <b>\tpix2pix, A to B\t256 px\t20 of 20\t0 min 10 s\t–",
    ]


def test_a_comparison_has_numbers_side_by_side(compared: Page) -> None:
    assert [row.split("\t") for row in compared.locator(".numbers tbody tr").all_inner_texts()] == [
        ["one", "model", "0.3000", "val, A to B", "40", "9"],
        ["two <b>", "model", "0.2000", "val, A to B", "20", "9"],
    ]
    assert compared.locator(".numbers b").all_inner_texts() == ["0.2000"]


def test_numbers_that_nothing_can_be_compared_with_stand_in_another_table(tmp_path: Path, page: Page) -> None:
    runs = [make_run(tmp_path / name) for name in ("one", "two", "larger", "other")]
    add_metrics(runs[0], 10, "model", {"l1/64px": 0.2, "psnr/64px": 9.0}, data="d")
    add_metrics(runs[1], 10, "model", {"psnr/64px": 8.0}, data="elsewhere/d")
    add_metrics(runs[2], 10, "model", {"l1/128px": 0.1}, data="d")
    add_metrics(runs[3], 10, "model", {"psnr/64px": 99.0}, data="other pictures")
    page.goto(report(*(run.path for run in runs), out=tmp_path / "out").as_uri())
    tables = [table.locator("tbody tr").all_inner_texts() for table in page.locator(".numbers").all()]
    assert [[row.split("\t")[0] for row in table] for table in tables] == [["one", "two"], ["larger"], ["other"]]
    assert [table.locator(".metric").count() for table in page.locator(".numbers").all()] == [2, 1, 1]
    assert page.locator("#numbers h3").all_inner_texts() == ["d", "d", "other pictures"]
    assert page.locator(".numbers b").all_inner_texts() == ["9.000"]  # other pictures have another best


def test_curves_of_one_name_share_a_chart_and_runs_are_switched_off(compared: Page) -> None:
    titles = compared.locator("#charts .name b").all_inner_texts()
    assert titles == ["SSIM", "G", "of two", "learning rate"]
    curves = [figure.locator(".line").count() for figure in compared.locator("#charts figure").all()]
    assert curves == [1, 2, 1, 2]
    strokes = {line.evaluate("one => getComputedStyle(one).stroke") for line in compared.locator(".line").all()}
    assert len(strokes) == 2
    assert captions(compared)[1].split("\n") == ["G", "1 at step 40", "2 at step 20"]
    compared.get_by_label("one", exact=True).uncheck()
    curves = [figure.locator(".line").count() for figure in compared.locator("#charts figure").all()]
    assert curves == [0, 1, 1, 1]
    assert compared.locator(".numbers tbody tr:visible").count() == 1
    assert compared.locator(".beside figure:visible").count() == 1
    compared.get_by_label("one", exact=True).check()
    assert compared.locator(".numbers tbody tr:visible").count() == 2


def test_samples_of_several_runs_go_together_by_share_or_by_step(compared: Page) -> None:
    def steps() -> list[str]:
        return compared.locator(".beside figcaption span").all_inner_texts()

    assert compared.inner_text("#reached") == "100 % of the run"
    assert steps() == ["step 40", "step 20"]
    compared.keyboard.press("ArrowLeft")
    assert compared.inner_text("#reached") == "50 % of the run"
    assert steps() == ["step 20", "step 10"]
    compared.get_by_label("Over").select_option("the step")
    assert steps() == ["step 40", "step 20"]
    compared.locator("#moment").fill("1")
    assert compared.inner_text("#reached") == "step 10"
    assert steps() == ["step 10", "step 10"]
    compared.locator("#moment").fill("0")
    assert steps() == ["step 10", "step 5"]  # before its first sheet a run shows that
    compared.wait_for_function(
        "[...document.querySelectorAll('.beside img')].every(image => image.naturalWidth === 24)"
    )


def test_results_of_the_same_name_stand_side_by_side_under_the_divider_too(compared: Page) -> None:
    assert compared.locator("#results h3").inner_text() == "val: 10 of 10 pictures that 2 runs have"
    names = compared.locator("#results h4").all_inner_texts()
    assert names == [f"picture {i}" for i in range(10, 20)]
    first = compared.locator("#results article").first
    assert first.locator("span").all_inner_texts() == ["input", "output · one", "output · two <b>", "target"]
    first.scroll_into_view_if_needed()
    compared.wait_for_function(
        "[...document.querySelectorAll('#results article:first-of-type img')].every(image => image.naturalWidth === 8)"
    )
    first.locator("button").nth(1).click()
    compared.keyboard.press("d")
    compared.wait_for_function("[...document.querySelectorAll('#box img')].every(image => image.naturalWidth > 0)")
    assert shades(compared, 0.1, 0.9) == [5, 180]
    assert compared.inner_text("#values").split("\n")[0] == "one: L1 error 0.09091 · PSNR (dB) 20"
    compared.keyboard.press("ArrowRight")
    compared.keyboard.press("Escape")
    compared.wait_for_function("document.activeElement.title === 'picture 11'")


@pytest.mark.parametrize("width", [360, 1280])
def test_a_comparison_never_scrolls_sideways(tmp_path: Path, open_page: Open, width: int) -> None:
    runs = [whole_run(tmp_path / f"{n}-{'very' * 30}-long-name").path for n in range(3)]
    page = open_page(report(*runs, out=tmp_path / "out"), viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert page.locator(".beside img").first.is_visible()


def test_hostile_names_arrive_intact_in_a_comparison(tmp_path: Path, page: Page) -> None:
    runs = [make_run(tmp_path / name) for name in ("<img src=x onerror=alert(1)>", "\"quotes\" 'and' `ticks`")]
    for run in runs:
        add_log(run, 3)
        add_results(run, HOSTILE)
        add_metrics(run, 5, HOSTILE[0], {f"<b>/{HOSTILE[4]}": 1.0}, data=HOSTILE[1])
    page.goto(report(*(run.path for run in runs), out=tmp_path / "a b#c?d%41").as_uri())
    labels = [text.strip() for text in page.locator("#legend label").all_inner_texts()]
    assert labels == [run.path.name for run in runs]
    assert sorted(page.locator("#results h4").all_text_contents()) == sorted(HOSTILE)
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    page.wait_for_function(
        "document.images.length === 6 * 3 && [...document.images].every(image => image.naturalWidth === 8)"
    )


def test_a_name_that_is_no_unicode_is_copied_too(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        add_results(run, ["broken \udcff name"])
    text = report(*(run.path for run in runs), out=tmp_path / "out").read_text(encoding="utf-8")
    assert len(list((tmp_path / "out/pictures").iterdir())) == 3 == len(set(re.findall(r"pictures/\w+\.png", text)))


def test_runs_of_one_folder_name_are_told_apart(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place).path for place in ("a/x/run", "b/x/run", "b/other")]
    assert [run["label"] for run in embedded(report(*runs, out=tmp_path / "out"))["runs"]] == [
        "a/x/run",
        "b/x/run",
        "other",
    ]


def test_a_comparison_is_drawn_again_and_what_somebody_put_there_stays(tmp_path: Path) -> None:
    runs, out = two_runs(tmp_path), tmp_path / "out"
    report(*runs, out=out)
    copies = {path.name for path in (out / "pictures").iterdir()}
    (out / "notes.txt").write_text("mine")
    (out / "pictures/mine.png").write_text("mine")
    shutil.rmtree(runs[0] / "samples")
    report(*runs, out=out)
    left = {path.name for path in (out / "pictures").iterdir()}
    assert "mine.png" in left
    assert left - {"mine.png"} < copies  # the samples of the first are gone
    assert (out / "notes.txt").read_text() == "mine"


def test_a_picture_that_is_gone_is_named_and_nothing_is_begun(tmp_path: Path) -> None:
    runs = [whole_run(tmp_path / name) for name in ("one", "two")]
    gone = runs[1].path / f"results/val/{PANELS[0]}/picture 0.png"
    gone.unlink()
    with pytest.raises(ValueError, match=f"^{gone}: cannot be read"):
        report(*(run.path for run in runs), out=tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_drawing_that_fails_leaves_the_older_page_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [whole_run(tmp_path / name).path for name in ("one", "two")]
    page = report(*runs, out=tmp_path / "both")
    before = {path: path.read_bytes() for path in (tmp_path / "both").rglob("*") if path.is_file()}
    for run in runs:
        shutil.rmtree(run / "samples")

    def full_disk(*given: Any, **told: Any) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(comparison, "draw_template", full_disk)
    with pytest.raises(OSError, match="no space left"):
        report(*runs, out=page.parent)
    assert all(path.read_bytes() == content for path, content in before.items() if path.suffix in (".png", ".html"))


def test_what_is_no_comparison_is_never_drawn_over(tmp_path: Path) -> None:
    runs = two_runs(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for out in (tmp_path, runs[0], tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=rf"^{out}: exists .*--out$"):
            report(*runs, out=out)
    assert report(*runs, out=tmp_path / "empty").is_file()
    assert not (tmp_path / "index.html").exists()
    assert (tmp_path / "file").read_text() == "mine"


def test_one_run_wants_no_out_and_several_want_one_and_each_is_given_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (str(run) for run in two_runs(tmp_path))
    for arguments, words in {
        (): "no run to draw a page of",
        (one, "--out", "x"): "--out x: the page of one run is drawn in its folder",
        (one, two): "2 runs make a comparison, which needs a folder of its own; add --out DIR",
        (one, f"{tmp_path}/./one", "--out", str(tmp_path / "x")): "is given twice",
        (one, str(tmp_path), "--out", str(tmp_path / "x")): "is given twice",
        (one, f"{tmp_path}/one/samples", "--out", str(tmp_path / "x")): "is not a run",
        (one, "--out", "x", "--table", "x.md"): "leave --out or --table out",
    }.items():
        assert cli.run(["report", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert cli.run(["report", one, two, "--out", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "x" / "index.html")


def test_a_folder_of_runs_stands_for_the_runs_in_it(tmp_path: Path) -> None:
    two_runs(tmp_path / "runs")
    (tmp_path / "runs" / "no run").mkdir()
    drawn = report(tmp_path / "runs", out=tmp_path / "x")
    assert [run["label"] for run in embedded(drawn)["runs"]] == ["one", "two <b>"]


def test_a_table_for_a_spreadsheet_has_every_digit_that_was_measured(tmp_path: Path) -> None:
    runs = two_runs(tmp_path)
    add_metrics(Run.open(runs[0]), 40, "mean", {METRICS[0]: 1 / 3, METRICS[1]: 2 / 7})
    with report(*runs, table=tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = {(row["run"], row["who"]): (row[METRICS[0]], row[METRICS[1]]) for row in rows}
    assert told == {
        ("one", "model"): ("0.3", ""),
        ("one", "mean"): (repr(1 / 3), repr(2 / 7)),
        ("two <b>", "model"): ("0.2", ""),
    }
    assert {(row["split"], row["step"]) for row in rows} == {("val", "40"), ("val", "20")}


def test_a_table_for_a_readme_or_a_paper_has_the_best_in_bold_and_escapes_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a|b_c&d")
    add_metrics(run, 40, "model", {METRICS[0]: 0.25, METRICS[1]: 19.0}, **{"standard-error": {METRICS[1]: 0.5}})
    add_metrics(run, 40, "mean", {METRICS[0]: 0.3})
    markdown = report(run.path, table=tmp_path / "x.md").read_text()
    assert "| run | who | L1 error ↓ | PSNR (dB) ↑ |\n| --- | --- | ---: | ---: |\n" in markdown
    assert r"| a\|b_c&d | model | **0.2500** | 19.00 ± 0.5 |" in markdown
    latex = report(run.path, table=tmp_path / "x.tex").read_text()
    assert r"run & who & L1 error $\downarrow$ & PSNR (dB) $\uparrow$ \\" in latex
    assert r"a|b\_c\&d & model & \textbf{0.2500} & 19.00 $\pm$ 0.5 \\" in latex
    assert r"a|b\_c\&d & mean & 0.3000 & -- \\" in latex


def test_a_table_replaces_its_like_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(ValueError, match="nothing is measured yet"):
        report(run.path, table=tmp_path / "x.md")
    add_metrics(run, 40, "model", {METRICS[0]: 0.25})
    for suffix in (".md", ".tex", ".csv"):
        file = tmp_path / f"x{suffix}"
        first = report(run.path, table=file).read_bytes()
        assert report(run.path, table=file).read_bytes() == first
        file.write_text("mine")
        with pytest.raises(ValueError, match="exists and is no table written earlier"):
            report(run.path, table=file)
        assert file.read_text() == "mine"
    with pytest.raises(ValueError, match=r"--table .*x.html: a table is written as .md, .tex, .csv"):
        report(run.path, table=tmp_path / "x.html")
