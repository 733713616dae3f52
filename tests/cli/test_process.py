"""What the command asks of its process, on every system."""

import ctypes
import os
import subprocess
import sys

import pytest

from diptych.cli import process


def test_waiting_threads_sleep_unless_the_user_says_how_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    process.share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    process.share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    process.share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.delenv("GOMP_SPINCOUNT")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is counted as Linux does")
@pytest.mark.parametrize(("numbers", "all_of_it"), [(2**22, False), (2**24, True)])
def test_freed_memory_is_used_again(numbers: int, all_of_it: bool) -> None:
    # In a process of its own: where the memory of this one lies, after thousands of tests, is another matter.
    code = (
        "import resource, torch; from diptych.cli import process\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        f"process.keep_freed_memory(all_of_it={all_of_it})\n"
        "for _ in range(9):  # the first ones find their place\n"
        f"    before = faults(); torch.zeros({numbers})\n"
        "print(faults() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < numbers // 2**14  # a page has 2**10 numbers


def test_another_c_library_goes_on_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    process.keep_freed_memory()
