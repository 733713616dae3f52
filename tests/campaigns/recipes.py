"""Recipes (TOML) and settings.toml: every setting with values of all kinds, tables where none belong, odd TOML."""

import json
import math
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from diptych.methods import METHODS
from diptych.methods.settings import kebab
from diptych.training.settings import Settings

from . import ready
from .harness import Attempt, Campaign, Case
from .mutations import mutate

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    15,
    16,
    31,
    32,
    33,
    64,
    100,
    255,
    1000,
    2048,
    65_536,
    10**6,
    10**9,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    10**30,
)
FLOATS = (0.0, -0.0, 0.1, 0.5, 0.999, 1.0, 1.5, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan)
TEXTS = (
    "",
    "x",
    "auto",
    "cpu",
    "cuda",
    "mps",
    "bf16",
    "BtoA",
    "unet",
    "resnet9",
    "lsgan",
    "crop",
    "stretch",
    "l1",
    "../x",
    "/dev/zero",
    "\x1b[31m",
    "a\nb",
    "é" * 99,
    "n" * 10**5,
)


def prepare(shared: Path) -> None:
    """Data of every kind, and a finished run."""
    pairs = ready.write_pairs(shared / "pairs")
    ready.write_classes(shared / "classes")
    ready.write_run(shared / "pix2pix", "pix2pix", pairs)


def settings_of(method: str) -> dict[str, Any]:
    """The defaults of every setting, those of the method with a dot in their names."""
    own = {f"method.{kebab(name)}": field.default for name, field in METHODS[method].Settings.model_fields.items()}
    return {name: value for name, value in Settings().model_dump(mode="json").items() if name != "method"} | own


def value_for(random: Random, default: Any) -> Any:
    """A value of the right type in two of three cases, often an absurd one."""
    if random.random() < 0.33:
        return hostile_value(random)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return random.choice((default, default, *NUMBERS))
    if isinstance(default, float):
        return random.choice((default, default * 2, default / 3, *FLOATS))
    return random.choice((default, default, *TEXTS))


def hostile_value(random: Random, depth: int = 0) -> Any:
    """Anything that TOML can hold."""
    match random.choice(("number", "number", "number", "float", "float", "text", "bool", "list", "table")):
        case "number":
            return random.choice(NUMBERS) if random.random() < 0.8 else random.randrange(-(2**16), 2**16)
        case "float":
            return random.choice(FLOATS)
        case "text":
            return random.choice(TEXTS)
        case "list" if depth < 3:
            return [hostile_value(random, depth + 1) for _ in range(random.choice((0, 1, 3, 200)))]
        case "table" if depth < 3:
            return {
                random.choice(("a", "name", "size", "")): hostile_value(random, depth + 1)
                for _ in range(random.randrange(3))
            }
    return random.random() < 0.5


def as_toml(value: Any) -> str:
    """A value as TOML writes it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else _text(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=True)


def recipe(random: Random, method: str) -> str:
    """Some settings, most of them of the right name."""
    defaults = settings_of(method)
    chosen = random.sample(sorted(defaults), random.choice((1, 1, 2, 3, len(defaults))))
    lines = [f"{name} = {as_toml(value_for(random, defaults[name]))}" for name in chosen]
    if random.random() < 0.2:
        extra = ("run", "method", "sise", "method.name", "method.unknown", "run.names", '""', '"\\u001b[31m"', "a.b.c")
        lines.insert(0, f"{random.choice(extra)} = {as_toml(hostile_value(random))}")
    return "\n".join(lines) + "\n"


def odd_toml(random: Random) -> bytes:
    """Text that strains a parser."""
    depth = random.choice((200, 2000, 50_000))
    return random.choice(
        (
            f"x = {'[' * depth}{']' * depth}".encode(),
            f"x = {'{a = ' * depth}1{'}' * depth}".encode(),
            f"{'.'.join('a' * depth)} = 1".encode(),
            f"[{'.'.join('a' * depth)}]\nx = 1".encode(),
            b"".join(b"[[a]]\n" for _ in range(depth)),
            b"size = " + b"9" * depth,
            b"size = 0x" + b"f" * depth,
            b"lr = 1e" + b"9" * depth,
            b'x = """' + b"a" * depth,
            b"size = 1979-05-27T07:32:00Z",
            b"size = 99999-99-99",
            b"\xef\xbb\xbfsize = 16",
            "size = 16".encode("utf-16"),
            b"size = 16\0",
            b"size = 16\rlr = 1",
            b"\xff\xfe\xfd",
            b"# only words",
            b"",
            bytes(2**21),
            b"size = 16\n" * 2,
            b"x = 1\n" + b"".join(b"k%d = 1\n" % number for number in range(depth)),
            b"method = 3",
            b"method = []",
            b"[run]\n[method]\nname = 'cgan'",
        )
    )


def hostile_toml(random: Random, method: str, good: str = "") -> tuple[bytes, str]:
    """A file, and what it is in a word; `good` is one to begin with."""
    match random.choice(("recipe", "recipe", "recipe", "odd", "damaged", "changed" if good else "recipe")):
        case "odd":
            return odd_toml(random), "odd TOML"
        case "damaged":
            data, ways = mutate((good or recipe(random, method)).encode(), random)
            return data, f"damaged: {ways}"
        case "changed":
            lines = good.splitlines()
            for _ in range(random.choice((1, 1, 3))):
                at = random.randrange(len(lines))
                key, equals, _value = lines[at].partition(" = ")
                lines[at] = (
                    f"{key} = {as_toml(hostile_value(random))}"
                    if equals
                    else random.choice(("", "[x]", "[method]", lines[at] * 2))
                )
            return "\n".join(lines).encode(errors="surrogatepass"), "changed values"
    return recipe(random, method).encode(), "recipe"


def make(case: Case) -> Attempt:
    """A recipe for a method, the same as flags, or the settings of a run."""
    random = case.random
    if random.random() < 0.25:
        return _settings_of_a_run(case)
    method = random.choice(list(METHODS))
    data = case.shared / ("classes" if METHODS[method].data.value == "labelled" else "pairs")
    arguments: list[object] = ["train", method, "--data", data, "--out", case.folder / "out", "--dry-run"]
    if random.random() < 0.3:
        defaults = settings_of(method)
        names = random.sample(sorted(defaults), random.choice((1, 1, 2)))
        flags = [part for name in names for part in (f"--{name}", _as_typed(value_for(random, defaults[name])))]
        case.title = f"{method}: flags {flags}"[:100]
        return lambda: case.command(*arguments, *flags)
    toml, what = hostile_toml(random, method)
    (case.folder / "recipe.toml").write_bytes(toml)
    case.title = f"{method}: {what}"
    return lambda: case.command(*arguments, "--recipe", case.folder / "recipe.toml")


def _as_typed(value: Any) -> str:
    text = value if isinstance(value, str) else as_toml(value)
    return text[:10_000].replace("\0", "")


def _settings_of_a_run(case: Case) -> Attempt:
    run = case.folder / "run"
    shutil.copytree(case.shared / "pix2pix", run)
    settings = run / "settings.toml"
    good = settings.read_text(encoding="utf-8")
    assert tomllib.loads(good)
    toml, what = hostile_toml(case.random, "pix2pix", good)
    settings.write_bytes(toml)
    pairs = case.shared / "pairs"
    command: tuple[object, ...] = case.random.choice(
        (("report", run), ("evaluate", run, "--data", pairs), ready.training("pix2pix", pairs, run, steps=6))
    )
    case.title = f"settings.toml: {what}; {command[0]}"
    return lambda: case.command(*command)


CAMPAIGN = Campaign(make, count=3000, prepare=prepare)
