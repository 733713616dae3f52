"""docs/results.md is written by benchmarks/results.py; nobody types a measured number."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.data.paths import DataPaths
from diptych.training.run import Run
from diptych.training.settings import settings_from

ROOT = Path(__file__).parents[1]
WRITE = """\
diptych train ...

{{ measured("maps") }}

{{ value("maps", "model", "kid", "BtoA") }} is little.

{{ output("one", "python -c 'print(1)'") }}
"""


@pytest.fixture(scope="module")
def results() -> Any:
    """benchmarks/results.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("benchmarks_results", ROOT / "benchmarks/results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the script on `WRITE` and records in a folder of their own; gives the page."""
    for name, file in {"TEMPLATE": "page.template.md", "PAGE": "page.md", "RECORDS": "measured"}.items():
        monkeypatch.setattr(results, name, tmp_path / file)
    (tmp_path / "page.template.md").write_text(WRITE, encoding="utf-8")

    def called(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["results.py", *map(str, arguments)])
        results.main()
        return (tmp_path / "page.md").read_text(encoding="utf-8")

    return called


def evaluation(when: str, l1: float, command: str = "diptych evaluate /home/me/runs/maps") -> list[Any]:
    """Lines of an evaluation both ways, beside one baseline and the truth."""
    lines = []
    for way in ("AtoB", "BtoA"):
        behind = "8-bit/128px"
        kid = f"kid/net/40/{behind}"
        for who, value in (("model", l1), ("the input as it is", 0.5)):
            metrics = {f"l1/{behind}": value, f"psnr/{behind}": 1 / value, kid: 0.01}
            lines.append({"who": who, "metrics": metrics, "standard-error": {kid: 0.00123}})
        lines.append({"who": "held-out pictures", "metrics": {kid: 0.001}})
        about: dict[str, Any] = {
            "time": when,
            "command": command,
            "data": "/home/me/maps",
            "split": "val",
            "step": 2400,
            "count": 40,
        }
        lines[-3:] = [{**about, "direction": way, **line} for line in lines[-3:]]
    return lines


def make_run(folder: Path, lines: list[Any]) -> None:
    settings = settings_from("cyclegan", {"steps": 2400, "size": 128, "ema": 0.9, "validate_every": 100})
    far = ROOT.parents[1] / "elsewhere"  # from which a path is not told
    command = f"diptych train cyclegan --data {far}/maps --out {ROOT}/runs/maps"
    Run(folder, "cyclegan", settings, DataPaths(folder.parent)).write_settings(command, "160 pictures", "")
    log: list[dict[str, Any]] = [{"step": step, "seconds": 2.0 * step, "lr": 2e-4, "losses": {}} for step in (20, 2400)]
    for name, entries in (("log.jsonl", log), ("metrics.jsonl", lines)):
        (folder / name).write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")


# ---- the page that there is


def test_the_page_is_what_the_template_and_the_records_give(results: Any) -> None:
    page = results.Page(results.TEMPLATE, results.RECORDS)
    assert results.PAGE.read_bytes() == page.text.encode(), "python benchmarks/results.py"


def test_every_run_and_every_benchmark_is_recorded_or_its_remedy_is_told(results: Any) -> None:
    page = results.Page(results.TEMPLATE, results.RECORDS)
    assert page.runs
    assert page.benchmarks
    for name in page.runs:
        told = f"*Nothing is recorded of `{name}`:" in page.text
        assert told != (results.RECORDS / f"runs/{name}.json").exists(), name
    for name, command in page.benchmarks.items():
        assert (f"--benchmarks {name}`.*" in page.text) != (f"\n```\n$ {command}\n" in page.text), name


def test_every_benchmark_is_on_a_page(results: Any) -> None:
    called = {command.split()[1] for command in results.Page(results.TEMPLATE, results.RECORDS).benchmarks.values()}
    for page in (ROOT / "docs").glob("*.md"):
        called |= set(re.findall(r"python (benchmarks/\w+\.py)", page.read_text(encoding="utf-8")))
    there = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py")}
    assert there - called == {"benchmarks/interleave.py"}


def test_no_record_is_left_that_the_page_does_not_name(results: Any) -> None:
    page = results.Page(results.TEMPLATE, results.RECORDS)
    kept = {path.relative_to(results.RECORDS).as_posix() for path in results.RECORDS.rglob("*") if path.is_file()}
    named = {f"runs/{name}.json" for name in page.runs} | {f"benchmarks/{name}.txt" for name in page.benchmarks}
    assert kept <= named


def test_no_measured_number_is_typed_in_the_template(results: Any) -> None:
    text = re.sub(r"```.*?```|\{\{.*?\}\}|`[^`\n]*`", "", results.TEMPLATE.read_text(encoding="utf-8"), flags=re.S)
    units = r"%|h|min|minutes?|s|ms|seconds?|[kMG]i?B|steps/s|pictures/s|times"
    assert re.findall(rf".*(?:\d[.]\d|\d ?(?:{units})(?!\w)).*", text) == []


def test_records_name_no_folder_of_this_machine(results: Any) -> None:
    for path in results.RECORDS.rglob("*"):
        if path.is_file():
            assert not re.findall(r"""(?<![\w.~:/…])/[\w.]+/\S*""", path.read_text(encoding="utf-8")), path


# ---- how it is written


def test_one_command_records_a_run_and_a_benchmark_and_writes_the_page(
    write: Callable[..., str], tmp_path: Path
) -> None:
    older = evaluation("2026-01-01T10:00:00", 0.1)
    make_run(tmp_path / "runs/maps", [*older, *evaluation("2026-01-02T10:00:00", 0.25)])
    page = write("--runs", tmp_path / "nowhere", tmp_path / "runs", "--benchmarks")
    way = """\
, 40 val pictures, `…/8-bit/128px`:

| | model, step 2,400 | the input as it is | held-out pictures |
|---|---|---|---|
| l1 ↓ | **0.2500** | 0.5000 |  |
| psnr ↑ | **4.000** | 2.000 |  |
| kid/net/40 ↓ | 0.01000 ± 0.0012 | 0.01000 ± 0.0012 | 0.001000 |
"""
    told, _, rest = page.removeprefix("diptych train ...\n\n").partition("\n\n")
    assert re.sub(r"torch \S+ ", "torch ", told) == (
        "2,400 steps in 1 h 20 min by the run's log, with torch Other than by default: size 128, ema 0.9. "
        "Measured on 2026-01-02 by `diptych evaluate maps`."
    )
    assert rest == f"AtoB{way}\nBtoA{way}\n0.01000 is little.\n\n```\n$ python -c 'print(1)'\n1\n```\n"
    record = json.loads((tmp_path / "measured/runs/maps.json").read_text(encoding="utf-8"))
    assert record["command"] == "diptych train cyclegan --data maps --out runs/maps"
    assert {line["time"] for line in record["evaluated"]} == {"2026-01-02T10:00:00"}


def test_a_record_stays_where_its_run_is_gone_or_not_evaluated(write: Callable[..., str], tmp_path: Path) -> None:
    make_run(tmp_path / "runs/maps", evaluation("2026-01-02T10:00:00", 0.25))
    page = write("--runs", tmp_path / "runs")
    assert write("--runs", tmp_path / "nowhere") == page
    make_run(tmp_path / "runs/maps", [])
    assert write("--runs", tmp_path / "runs") == page


def test_what_is_not_recorded_is_told_with_its_remedy(write: Callable[..., str]) -> None:
    page = write()
    assert "Nothing is recorded of `maps`: train and evaluate it as above, then `python benchmarks/results.py" in page
    assert "(not recorded) is little." in page
    assert "Nothing is recorded of `python -c 'print(1)'`: `python benchmarks/results.py --benchmarks one`" in page
    assert "|" not in page


def test_the_last_evaluation_is_that_of_the_last_command(results: Any) -> None:
    with_baselines = evaluation("2026-01-01T10:00:00", 0.1, command="diptych evaluate maps --baselines")
    alone = evaluation("2026-01-02T10:00:00", 0.2)[:1]
    assert results.newest([*with_baselines, *alone]) == alone


def test_early_lines_do_not_tell_the_direction(write: Callable[..., str], tmp_path: Path) -> None:
    [line, *_] = evaluation("2026-01-01T10:00:00", 0.1)
    del line["direction"]
    make_run(tmp_path / "runs/maps", [line])
    assert "\n40 val pictures, `…/8-bit/128px`:\n" in write("--runs", tmp_path / "runs")
    [again, *_] = evaluation("2026-01-02T10:00:00", 0.2)
    make_run(tmp_path / "runs/maps", [line, {**again, "direction": "AtoB"}])  # the same one, measured once more
    assert "2026-01-01" not in write("--runs", tmp_path / "runs")


def test_pictures_of_other_splits_are_counted_by_themselves(write: Callable[..., str], tmp_path: Path) -> None:
    [drawn, _, real, *_] = evaluation("2026-01-01T10:00:00", 0.1)
    make_run(tmp_path / "runs/maps", [{**drawn, "split": "drawn", "count": 10_000}, real])
    assert "| | model, step 2,400 (10,000 drawn) | held-out pictures (40 val) |" in write("--runs", tmp_path / "runs")


def test_a_model_of_another_step_is_named_with_it(write: Callable[..., str], tmp_path: Path) -> None:
    [model, other, *_] = evaluation("2026-01-01T10:00:00", 0.1)
    make_run(tmp_path / "runs/maps", [model, {**other, "who": "best", "step": 1200}])
    assert "| | model, step 2,400 | best, step 1,200 |" in write("--runs", tmp_path / "runs")


def test_what_was_not_measured_is_told_once_for_each_reason(write: Callable[..., str], tmp_path: Path) -> None:
    reason = "weights: are not in /home/me/cache; put them there"
    missing = {"not-measured": {"fid": reason, "lpips": reason}}
    make_run(tmp_path / "runs/maps", [line | missing for line in evaluation("2026-01-01T10:00:00", 0.1)])
    page = write("--runs", tmp_path / "runs")
    assert page.count("Not measured") == 1
    assert "\nNot measured: fid, lpips: weights: are not in cache\n" in page


def test_what_was_printed_under_other_flags_says_nothing(write: Callable[..., str], tmp_path: Path) -> None:
    assert "\n1\n" in write("--benchmarks", "one")
    (tmp_path / "page.template.md").write_text(WRITE.replace("print(1)", "print(2)"), encoding="utf-8")
    page = write()
    assert "Nothing is recorded of `python -c 'print(2)'`" in page
    assert "```" not in page


def test_an_unknown_benchmark_is_refused(write: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        write("--benchmarks", "two")
    assert "--benchmarks two: page.template.md has one" in capsys.readouterr().err
