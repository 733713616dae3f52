"""The table of commands. Each is a function of the package: its signature gives the flags, its docstring their help.

A function is imported when its command is typed: torch takes a second.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from diptych.wording import printable, without_long_words

Verb = Callable[..., Any]
Given = dict[str, Any]
"""What was typed, by the names of the function's parameters."""


def stderr(text: str) -> None:
    """One line for a person."""
    sys.stderr.write(f"diptych: {printable(without_long_words(text))}\n")


def stdout(text: str) -> None:
    """A line of what the command gives."""
    sys.stdout.write(f"{printable(text)}\n")


# ---- how the function of a command is called, and what becomes of its result


def call(verb: Verb, given: Given) -> None:
    """Calls a function that tells what it does."""
    verb(**given)


def print_path(verb: Verb, given: Given) -> None:
    """Prints the file that was written."""
    stdout(str(verb(*given.pop("runs", ()), **given)))


def print_pictures(verb: Verb, given: Given) -> None:
    """Prints the picture that was written, or how many there are in the folder."""
    files, out = verb(**given), given["out"]
    stdout(out if len(files) == 1 else f"{out}: {len(files)} pictures")


def name_skipped(verb: Verb, given: Given) -> int:
    """A line for each picture that was skipped; the status 1 says that there are some."""
    problems: Sequence[str] = verb(**given)
    for problem in problems:
        stderr(f"skipped: {problem}")
    return 1 if problems else 0


def translate(verb: Verb, given: Given) -> int:
    """With a progress bar."""
    from rich.console import Console

    from diptych.progress import counting

    console = Console(stderr=True)
    may_ask = console.is_terminal and sys.stdin is not None and sys.stdin.isatty()
    with counting(console, "translating") as progress:
        ask = partial(_ask, console) if may_ask else None
        shown = {"progress": progress, "strip_progress": progress, "console": console, "ask": ask}
        return name_skipped(verb, given | shown)


def _ask(console: Any, names: Sequence[str]) -> str:
    """Asks which side of a model is to be made; the first is taken where nothing is typed."""
    from rich.prompt import Prompt
    from rich.text import Text

    question = Text("it translates both ways; what do you want to have?")
    try:
        return Prompt.ask(question, console=console, choices=[*names], default=names[0])
    except EOFError:  # Ctrl-D
        return names[0]


def evaluate(verb: Verb, given: Given) -> int:
    """Shows the numbers, and why others are missing; the status 1 says that one was asked for that is missing."""
    from rich.console import Console

    from diptych.cli.numbers import show
    from diptych.progress import counting

    with counting(Console(stderr=True), "measuring") as progress:
        lines = verb(**given, progress=lambda what, done, total: progress(done, total, what))
    show(lines, str(given.get("run") or f"{given.get('fake')} beside {given.get('real')}"), Console())
    missing: Mapping[str, str] = lines[0].get("not-measured", {})
    for reason in dict.fromkeys(missing.values()):
        stderr(f"not measured: {', '.join(name for name in missing if missing[name] == reason)}: {reason}")
    return 1 if given.get("names") and missing else 0


def serve(verb: Verb, given: Given) -> None:
    """Until it is interrupted."""
    verb(*given.pop("runs", ()), **given)


def export(verb: Verb, given: Given) -> int:
    """Says what was written and how it compares; the status 1 says that the file is wrong."""
    exported = verb(**given)
    for line in exported.lines:
        stdout(f"{exported.file}: {line}")
    return 0 if exported.is_right else 1


def inspect_data(verb: Verb, given: Given) -> int:
    """Prints the findings; the status 1 says that there are files that cannot be read."""
    from rich.console import Console

    from diptych.prepare.inspect import show

    show(findings := verb(**given), Console())
    return 1 if findings.unreadable else 0


def download(verb: Verb, given: Given) -> None:
    """Lists the data sets when none is named."""
    from diptych.prepare.catalogue import show_catalogue

    if "name" not in given:
        show_catalogue()
    elif "out" not in given:
        raise ValueError(f"download {given['name']}: say where to; add --out DIR")
    else:
        verb(**given)


# ---- the table


@dataclass(frozen=True)
class Command:
    """A command: the function that it is, the first words of its help, how it is called."""

    function: str
    help: str
    call: Callable[[Verb, Given], int | None] = name_skipped
    flags: Mapping[str, Any] = field(default_factory=dict)
    """The types of parameters, where the command line wants others than the function; None as a default for `| None`."""


def _names(_: Any, tokens: Sequence[Any]) -> list[str]:
    return [name.strip() for name in tokens[0].value.split(",")]


METRICS = Annotated[list[str] | None, Parameter(name="--metrics", n_tokens=1, converter=_names, metavar="STR")]
WORKERS = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]

COMMANDS = {
    "translate": Command(
        "diptych.translate:translate",
        "Translate pictures of any size: a file to a file, a folder to a folder.",
        translate,
    ),
    "sample": Command(
        "diptych.sample:sample",
        "Draw pictures out of noise, of the class that you name; the same seed gives the same pictures.",
        print_pictures,
        {"out": str, "label": list[str] | None},  # as it is typed: the slash at the end of a folder says something
    ),
    "export": Command(
        "diptych.export:export",
        "Write a model as one file for ONNX Runtime or torch.export, or as a web page, and check it beside the model.\n\n"
        "For example: diptych export runs/facades --out facades.onnx, or --out facades.html",
        export,
    ),
    "serve": Command(
        "diptych.serve:serve",
        "Serve models on an address: a page for people, an interface for programs.\n\n"
        "For example: diptych serve runs/facades, or diptych serve day=runs/7 night=runs/8 --port 8080",
        serve,
    ),
    "submit": Command(
        "diptych.submit:submit",
        "Translate photographs into a submission for Kaggle's \"I'm Something of a Painter Myself\".\n\n"
        "The zip file is read back and checked before it is called ready. After an interruption, the same command goes on.",
        call,
    ),
    "evaluate": Command(
        "diptych.evaluate:evaluate",
        "Measure a model on held-out pictures, and keep every result in the run; or compare two folders of pictures.",
        evaluate,
        {"names": METRICS},
    ),
    "report": Command(
        "diptych.report:report",
        "Draw the page of a run: curves, samples, results, numbers; or, of several, one that compares them.\n\n"
        "A page opens from disk and needs no network; its folder can be zipped and sent.",
        print_path,
    ),
    "import": Command(
        "diptych.peers:import_weights",
        "Make a model from the weights of another program: junyanz's pix2pix and CycleGAN, CUT's, or otenim's GLCIC.",
        print_path,
    ),
    "push": Command(
        "diptych.push:push",
        "Upload the model of a run to the Hugging Face Hub, with a card of its settings and numbers.",
        print_path,
    ),
    "quickstart": Command(
        "diptych.quickstart:quickstart",
        "Train pix2pix on the built-in emoji and draw the report: minutes on two cores.",
        call,
    ),
    "data inspect": Command(
        "diptych.prepare.inspect:inspect",
        "Say what is in a folder, what is wrong with it, which method fits, and the command to train it.\n\n"
        "Counts, sizes, modes, unreadable files, near-duplicates, also between train and val.",
        inspect_data,
    ),
    "data resize": Command("diptych.prepare.resize:resize", "Scale pictures to one size."),
    "data blank": Command("diptych.prepare.blank:blank", "Cut a hole into the centre of pictures, or random holes."),
    "data combine": Command(
        "diptych.prepare.combine:combine",
        "Join each picture of A with that of the same name in B, side by side in one file.",
    ),
    "data grayscale": Command(
        "diptych.prepare.grayscale:grayscale", "Take the colour out of pictures (ITU-R 601 luma)."
    ),
    "data edges": Command("diptych.prepare.edges:edges", "Draw the edges of pictures, black on white."),
    "data split": Command(
        "diptych.prepare.split:split",
        "Divide pictures into train, val and test; pairs and near-duplicates stay together.",
    ),
    "data pack": Command(
        "diptych.prepare.pack:pack",
        "Pack pictures into one array (npy, 8 bit), which trains as the folder does and is never decoded again; or, with "
        "--shards, as they are into tar files, which are read from a disk or a server.",
    ),
    "data download": Command(
        "diptych.prepare.download:download",
        "Fetch a public data set, check it, unpack it. Without a name: list them, with sizes, licences and mirrors.",
        download,
        {"name": str | None, "out": Path | None},
    ),
    "data demo": Command(
        "diptych.prepare.demo:demo",
        "Write a built-in data set: emoji, facades, fields or scans (pairs), or shapes (single pictures in five kinds). No "
        "network.",
        call,
    ),
}
