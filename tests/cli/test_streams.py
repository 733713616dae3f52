"""Closed, full, or without a reader: a stream costs its lines, and never the work or a file."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shells and devices")


def shell(folder: Path, code: str, more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python after `streams.secure()`, with redirections; what it prints, and its exit status."""
    lines = f"import sys\nfrom diptych.cli import streams, main\n{code}"
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(lines)} {more}"
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    # A library that writes a warning to descriptor 2 would write it into a model.
    code = """
streams.secure()
with open("numbers", "w") as file:
    file.write(f"{file.fileno()}")
print(sys.stdin.read(), file=sys.stderr)
"""
    ended = shell(tmp_path, code, "<&- >&- 2>&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert int((tmp_path / "numbers").read_text()) > 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    ended = shell(tmp_path, "main(['--help'])", ">/dev/full")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "diptych: stdout: could not be written to (No space left on device); what the command had to do is done\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stderr_changes_nothing(tmp_path: Path) -> None:
    ended = shell(tmp_path, "main(['report'])", "2>/dev/full")
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


def test_the_work_goes_on_without_a_reader(tmp_path: Path) -> None:
    code = """
from rich.console import Console
from diptych.progress import say
streams.secure()
for number in range(3000):
    say(Console(), f"line {number}")
open("done", "w").close()
main(["--help"])
"""
    ended = shell(tmp_path, code, "| head -1; exit ${PIPESTATUS[0]}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "line 0\n", "")
    assert (tmp_path / "done").exists()


def test_what_a_stream_has_no_signs_for_is_escaped(tmp_path: Path) -> None:
    code = "streams.secure()\nprint(chr(0x65e5), chr(0xe9))"
    assert shell(tmp_path, code, "", PYTHONIOENCODING="utf-8").stdout == "\u65e5 \u00e9\n"
    assert shell(tmp_path, code, "", PYTHONIOENCODING="ascii").stdout == "\\u65e5 \\xe9\n"
