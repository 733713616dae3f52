"""Pictures of tens of megapixels under a hard limit of 2 GiB of addresses, from file to file: whole, or nothing is left.

The first case is the promise: 12000x8000 pixels through a ResNet-9 of width 4. Of the others half are ended by a signal.
"""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from diptych.images.size import Size
from diptych.methods import build
from diptych.methods.cyclegan import CycleGANSettings
from diptych.methods.settings import Shape
from diptych.training import checkpoint

from .harness import Attempt, Campaign, Case
from .processes import Commands, Ended

LIMIT = 2 * 2**30
MODEL = "model"
HOUR = 3600.0
MEGAPIXEL = 10**6
SUFFIXES = (".jpg", ".png", ".tif")


@dataclass(frozen=True)
class Drawn:
    """One translation."""

    width: int
    height: int
    source: str
    target: str
    memory: str = "500M"
    ended_by: signal.Signals | None = None
    after: float = 0

    def __str__(self) -> str:
        ended = f", {self.ended_by.name} after {self.after:.0f} s" if self.ended_by else ""
        return f"{self.width}x{self.height} {self.source} to {self.target}, --memory {self.memory}{ended}"


def prepare(shared: Path) -> None:
    """A model of width 4 that has learnt nothing."""
    size = Size.square(256)
    settings, shape = CycleGANSettings(width=4).resolved(1, size), Shape(size=size)
    config = checkpoint.ModelConfig(
        method="cyclegan", direction="AtoB", shape=shape, settings=settings.model_dump(mode="json", by_alias=True)
    )
    torch.manual_seed(0)
    checkpoint.save_model(shared / MODEL, config, 0, build("cyclegan", settings, shape, torch.device("cpu")))


def draw(case: Case) -> Drawn:
    """Of 16 to 40 megapixels, which do not fit into the memory as levels and what decoders need, but for the first case."""
    if case.number == 0:
        return Drawn(12_000, 8000, ".jpg", ".png")
    random = case.random
    width = random.randrange(1000, 12_000)
    height = random.randrange(16 * MEGAPIXEL, 40 * MEGAPIXEL) // width
    ended_by = random.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL]) if random.random() < 0.5 else None
    return Drawn(
        width,
        height,
        random.choice(SUFFIXES),
        random.choice(SUFFIXES),
        random.choice(["400M", "500M"]),
        ended_by,
        random.uniform(5, 60),
    )


def write_picture(drawn: Drawn, path: Path) -> None:
    """Smooth colours, a strip at a time, of which the same lie one below the other."""
    colours = np.random.default_rng(drawn.width).integers(0, 256, (9, 9, 3), np.uint8)
    strip = Image.fromarray(colours).resize((drawn.width, min(drawn.height, 1000)))
    whole = Image.new("RGB", (drawn.width, drawn.height))
    for top in range(0, drawn.height, strip.height):
        whole.paste(strip, (0, top))
    whole.save(path)


def translate(case: Case) -> None:
    """A whole picture of the right size, or one line and nothing."""
    drawn, commands, folder = draw(case), Commands(case), case.folder / "work"
    (folder / "out").mkdir(parents=True)
    case.title = str(drawn)
    source, target = folder / f"x{drawn.source}", folder / "out" / f"y{drawn.target}"
    write_picture(drawn, source)
    arguments = ["translate", str(case.shared / MODEL), str(source), "--out", str(target), "--memory", drawn.memory]
    process = commands.start([*arguments, "--device", "cpu"], folder, cold=True, limits={"RLIMIT_AS": LIMIT})
    if drawn.ended_by:
        end = time.monotonic() + drawn.after
        while time.monotonic() < end and not process.has_ended():
            time.sleep(0.1)
        process.send(drawn.ended_by)
    try:
        ended = process.wait(HOUR)
    except TimeoutError as error:
        case.fault("hang", str(error))
        ended = Ended(-signal.SIGABRT, "")
    right = {0} if drawn.ended_by is None else {0, -signal.SIGKILL} if drawn.ended_by == signal.SIGKILL else {0, 130}
    if drawn.ended_by and drawn.after < 10:
        right |= {-drawn.ended_by}  # before the command was there to hear it
    if ended.status not in right:
        case.fault("wrong", f"{drawn}: exit status {ended.status}: {ended.terminal}")
    commands.judge(arguments, ended, also=(ended.status,))
    left = [path.name for path in (folder / "out").iterdir()]
    if ended.status == 0:
        with Image.open(target) as made:
            if made.size != (drawn.width, drawn.height):
                case.fault("wrong", f"{drawn}: {made.size} pixels came out")
        left.remove(target.name)
    if left and drawn.ended_by != signal.SIGKILL:
        case.fault("files", f"{drawn}: {left} stays")


def make(case: Case) -> Attempt:
    """A translation."""

    def attempt() -> bool:
        Image.MAX_IMAGE_PIXELS = None
        translate(case)
        return True

    return attempt


CAMPAIGN = Campaign(make, count=12, prepare=prepare, hang=HOUR, memory=2048)
