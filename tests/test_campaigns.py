"""The campaigns themselves are run by `make campaign`; here is shown that their harness finds what it is to find."""

import re
import subprocess
import sys
from pathlib import Path


def test_each_fault_is_found_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.campaigns", "trial", "--keep", str(tmp_path)]
    result = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    found = re.findall(r"^trial \d+: \[(\w*)\]: (.*)", result.stdout, re.MULTILINE)
    assert len(found) == 14, result.stdout + result.stderr
    for expected, line in found:
        assert line.startswith(f"{expected}: "), line
        assert len(re.findall(r"(?:^|; )(?:traceback|hang|death|memory|files|terminal|wrong): ", line)) == 1, line
    assert result.returncode == 1
    assert (tmp_path / "trial-1-3" / "fault.txt").is_file()
