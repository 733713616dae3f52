"""Networks for `--features` and weights from elsewhere: code in their texts, pickles among their parts, damaged archives."""

import io
import json
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import torch

from diptych.images.files import encode, from_tensor
from diptych.metrics import weights

from .arrays import hostile_pickle
from .harness import Attempt, Campaign, Case
from .models import hostile_json, hostile_value, places
from .mutations import mutate

Parts = list[tuple[str, bytes]]
"""What is in an archive: names, and bytes."""


def prepare(shared: Path) -> None:
    """A network that gives six numbers for a picture, and two folders of pictures."""
    layers = [torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(
        torch.nn.Sequential(*layers).eval(), (torch.zeros(2, 3, 16, 24),), dynamic_shapes=(free,)
    )
    torch.export.save(program, shared / "good.pt2")
    generator = torch.Generator().manual_seed(0)
    for folder in ("real", "fake"):
        (shared / folder).mkdir()
        for number in range(8):
            picture = torch.rand(3, 16, 16, generator=generator) * 2 - 1
            encode(from_tensor(picture), shared / folder / f"{number}.png")


def code(file: Path, random: Random) -> str:
    """Python that writes `file`, in one of the forms in which a text may come to be evaluated."""
    call = f"open({str(file)!r}, 'w')"
    by_import = f"__import__('pathlib').Path({str(file)!r}).touch()"
    return random.choice(
        (
            call,
            by_import,
            f"s0 + {by_import}",
            f"(lambda: {call})()",
            f"[{call} for x in (1,)]",
            f"Max(1, {by_import})",
            f"().__class__.__base__.__subclasses__() or {by_import}",
            f"torch.ops.aten.{by_import}",
            f"builtins.eval({call!r})",
            "os.system",
            "torch.load",
            "torch.ops.load_library",
        )
    )


def _parts(archive: bytes) -> Parts:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def _archive(parts: Parts, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in parts:
            file.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _with_code(content: bytes, file: Path, random: Random) -> bytes:
    """Some texts of a JSON file, values or keys, become code."""
    value = json.loads(content)
    texts = [(container, key) for container, key in places(value) if isinstance(container[key], str)]
    keys = [(container, key) for container, key in places(value) if isinstance(key, str)]
    for container, key in random.sample(texts, min(len(texts), random.choice((1, 3, 1000)))):
        container[key] = code(file, random)
    if random.random() < 0.2 and keys:
        container, key = random.choice(keys)
        container[code(file, random)] = container.get(key)
    return json.dumps(value).encode()


def _changed(parts: Parts, case: Case) -> Parts:
    random = case.random
    at = random.randrange(len(parts))
    texts = [number for number, (name, _) in enumerate(parts) if name.endswith(".json")]
    way = random.choice(
        ("code", "code", "code", "json", "json", "pickle", "pickle", "damage", "lose", "double", "path", "large")
    )
    if way in ("code", "json"):  # a text may be damaged by a change before this one
        texts = [number for number in texts if _is_json(parts[number][1])] or [at]
        at = max(texts, key=lambda number: len(parts[number][1])) if random.random() < 0.6 else random.choice(texts)
    name, content = parts[at]
    if way in ("code", "json") and not _is_json(content):
        way = "damage"
    case.title += f"{way} in {name}, "
    match way:
        case "code":
            content = _with_code(content, case.executed, random)
        case "json":
            content = hostile_json(json.loads(content), random)
        case "pickle":
            content = hostile_pickle(case.executed)
            parts = [
                (other, _uses_pickle(old) if other.endswith("_config.json") and _is_json(old) else old)
                for other, old in parts
            ]
        case "damage":
            content = mutate(content or b"x", random)[0]
        case "lose":
            return parts[:at] + parts[at + 1 :]
        case "double":
            return [*parts, (name, random.choice((content, b"", hostile_pickle(case.executed))))]
        case "path":
            name = random.choice(("../../precious/letter.txt", "/etc/x", "a/../../b", "", name.replace("/", "\\")))
        case "large":
            content = bytes(random.choice((2**24, 2**29)))
    return [*parts[:at], (name, content), *parts[at + 1 :]]


def _uses_pickle(content: bytes) -> bytes:
    value: Any = json.loads(content)
    for container, key in list(places(value)):
        if key == "use_pickle":
            container[key] = True
    return json.dumps(value).encode()


def make(case: Case) -> Attempt:
    """One file, given as a network or found as the weights of Inception."""
    random = case.random
    good = (case.shared / "good.pt2").read_bytes()
    match random.choice(("parts", "parts", "parts", "parts", "parts", "damaged", "other", "good")):
        case "good":
            data, case.title = good, "good"
        case "parts":
            parts = _parts(good)
            for _ in range(random.choice((1, 1, 2))):
                parts = _changed(parts, case)
            data = _archive(parts, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        case "damaged":
            data, case.title = mutate(good, random)
        case _:
            case.title = "another file"
            others = (
                hostile_pickle(case.executed),
                b"",
                bytes(1000),
                _archive([("x/data.pkl", hostile_pickle(case.executed))]),
            )
            data = random.choice((*others, json.dumps(hostile_value(random)).encode(errors="replace")))
    common = ("evaluate", "--real", case.shared / "real", "--fake", case.shared / "fake", "--device", "cpu")
    if random.random() < 0.1 and data != good:
        case.title += ", as the weights of Inception"
        (case.folder / weights.INCEPTION.names[0]).write_bytes(data)
        return lambda: case.command(*common, "--weights", case.folder, "--metrics", "fid")
    (case.folder / "network.pt2").write_bytes(data)

    def attempt() -> bool:
        opened = case.command(*common, "--features", case.folder / "network.pt2")
        if data == good and not opened:
            case.fault("wrong", "a good network was refused")
        return opened

    return attempt


CAMPAIGN = Campaign(make, count=1000, prepare=prepare, memory=5120)  # as docs/reliability.md states
