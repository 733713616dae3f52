"""Pictures."""

from pathlib import Path

from diptych.images.files import decode

from .harness import Attempt, Campaign, Case


def prepare(shared: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(shared / "a.png")


def make(case: Case) -> Attempt:
    case.title = "png"
    data = bytearray((case.shared / "a.png").read_bytes())
    data[case.random.randrange(len(data))] ^= 1 << case.random.randrange(8)
    (case.folder / "x.png").write_bytes(data)

    def go() -> bool:
        decode(case.folder / "x.png")
        return True

    return go


CAMPAIGN = Campaign(make, 10_000, prepare)
