"""Does the source at hand do what an older one does? Both do the same work on this machine, and all hashes are compared.

    python tests/golden/side_by_side.py [--old 2dcca31] [--only NAME ...]

hashes.json holds on one kind of processor alone; this holds on any. Exits with 1 where anything differs or fails.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parents[1]
OLD = "2dcca31"
"""The last commit before the source was rebuilt."""

Found = dict[str, dict[str, str]]


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit in the new `folder`, which git forgets again whatever happens."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def started(source: Path, runner: Path, out: Path, only: Sequence[str]) -> subprocess.Popen[bytes]:
    """The runner at work with this source, on one thread."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    environment.pop("DIPTYCH_WEIGHTS", None)
    command = [sys.executable, str(runner), "--out", str(out), *(["--only", *only] if only else [])]
    return subprocess.Popen(command, env=environment, cwd=out.parent, stdout=subprocess.DEVNULL)


def read(out: Path, source: Path) -> Found:
    """What the runner found; a `SystemExit` where it was not this source that it ran."""
    told: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if not Path(told["source"]).is_relative_to(source):
        sys.exit(f"{told['source']} was run instead of {source}: is diptych installed in a way that comes first?")
    found: Found = told["variants"]
    return found


def compared(old: Found, new: Found) -> Iterator[tuple[str, str]]:
    """Each variant with what is wrong with it, or nothing."""
    for name in old | new:
        one, other = old.get(name, {"error": "is not there"}), new.get(name, {"error": "is not there"})
        broken = [
            f"{who} fails: {found['error'].splitlines()[-1]}"
            for who, found in (("the old one", one), ("the new one", other))
            if "error" in found
        ]
        different = [what for what in one | other if one.get(what) != other.get(what)]
        yield name, "; ".join(broken) or ", ".join(different)


def main() -> None:
    """Prints a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", default=OLD, metavar="COMMIT")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or else the checkout would stay behind
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        runner = Path(shutil.copy(HERE / "runner.py", folder))  # the old commit may have another one, or none
        with checked_out(given.old, folder / "checkout") as checkout:
            sources = {"old": checkout / "src", "new": ROOT / "src"}
            outs = {which: folder / f"{which}.json" for which in sources}
            works = {which: started(sources[which], runner, outs[which], given.only) for which in sources}
            try:
                failed = [which for which, work in works.items() if work.wait()]
            finally:
                for work in works.values():
                    work.kill()
            if failed:
                sys.exit(f"the runner itself fails with the {' and the '.join(failed)} source; see above")
            old, new = (read(outs[which], sources[which]) for which in sources)
    results = dict(compared(old, new))
    for variant, wrong in results.items():
        print(f"DIFFERENT  {variant}: {wrong}" if wrong else f"same       {variant}")
    count = sum(map(bool, results.values()))
    print(f"{len(results)} variants, {count or 'none'} different")
    sys.exit(count > 0 or not results)


if __name__ == "__main__":
    main()
