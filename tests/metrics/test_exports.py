"""Nothing in a file of somebody else's is run: neither by pickle, nor by what torch evaluates of its text."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export, save

from diptych.metrics.exports import _is_arithmetic
from diptych.metrics.features import exported
from diptych.wording import printable

CPU = torch.device("cpu")
SIZES = {0: Dim("b", min=1, max=64), 2: Dim("h", min=8), 3: Dim("w", min=8)}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x).mean(dim=(2, 3))
        return y


class Various(nn.Module):
    """What real networks have: attention, normalisations, resizing, sizes as numbers, parts without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding="same"), nn.BatchNorm2d(8), nn.GELU(approximate="tanh"), nn.GroupNorm(2, 8)
        )
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            small = nn.functional.interpolate(x, size=(8, 8), mode="bicubic", antialias=True)
        tokens = self.attention(self.layers(small).flatten(2).transpose(1, 2))
        half = x[:, :, : x.shape[2] // 2, : x.shape[3] // 2]
        area = (x.shape[2] * x.shape[3]) ** 0.5
        return torch.cat(
            [tokens.mean(dim=1), half.mean(dim=(2, 3)) * area, torch.einsum("bnc,bnc->bc", tokens, tokens)], 1
        )


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("export") / "a network.pt2"
    save(export(Network().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=(SIZES,)), file)
    return file


def rewritten(source: Path, file: Path, change: Callable[[dict[str, Any]], object], compression: int = 0) -> Path:
    """A copy of the file with another program."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            if "/models/" in name:
                program = json.loads(content)
                change(program)
                content = json.dumps(program).encode()
            new.writestr(name, content)
    return file


def graph(program: dict[str, Any]) -> Any:
    return program["graph_module"]["graph"]


def first_size(program: dict[str, Any]) -> Any:
    return graph(program)["tensor_values"]["x"]["sizes"][0]["as_expr"]


def evil_changes(code: str) -> dict[str, Callable[[dict[str, Any]], object]]:
    def system(program: dict[str, Any], target: str = "torch.os.system", text: str = "ls") -> None:
        program["verifiers"] = []
        argument = {"name": "command", "arg": {"as_string": text}, "kind": 1}
        graph(program)["nodes"][0].update(target=target, inputs=[argument])

    def keyword(program: dict[str, Any]) -> None:
        graph(program)["nodes"][0]["inputs"][0].update(name=f"input={code},x", kind=2)

    def structure(program: dict[str, Any]) -> None:
        enum = {"__enum__": True, "fqn": "evil:Evil", "name": "A"}
        spec = {"type": "builtins.dict", "context": json.dumps([enum]), "children_spec": []}
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = json.dumps([1, spec])

    return {
        "size": lambda program: first_size(program).update(expr_str=code),
        "text in a size": lambda program: first_size(program).update(expr_str=f'Max("{code}", Integer(1))'),
        "symbol": lambda program: first_size(program).update(expr_str=f'Symbol("s0", integer={code})'),
        "guard": lambda program: program.update(guards_code=[code]),
        "half of a guard": lambda program: program.update(guards_code=[f"L['x'].size()[0] > 0 and {code}"]),
        "operator": system,
        "library": lambda program: system(program, "torch.ops.load_library"),
        "file": lambda program: system(program, "torch.ops.aten.save.default"),
        "dunder": lambda program: system(program, "torch.ops.aten.__class__.__init__"),
        "name": lambda program: graph(program)["nodes"][0].update(name=f"y={code}#"),
        "keyword": keyword,
        "argument": lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(
            forward_arg_names=[f"x={code}"]
        ),
        "structure": structure,
    }


@pytest.mark.parametrize("place", evil_changes(""))
def test_text_of_a_network_is_not_run(
    place: str, plain_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "went off"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    file = rewritten(plain_file, tmp_path / "evil.pt2", evil_changes(code)[place])
    with pytest.raises(ValueError, match=r"evil\.pt2: holds more than tensors \(.*which could run code") as error:
        exported(file, CPU).read(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert len(str(error.value)) - len(str(tmp_path)) < 250
    assert str(error.value) == printable(str(error.value))
    assert not marker.exists()


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_not_evil_is_read(plain_file: Path, tmp_path: Path, strict: bool) -> None:
    pictures = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    assert exported(plain_file, CPU).read(pictures).shape == (2, 4)
    various = tmp_path / "various.pt2"
    auto = {"x": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}}
    save(export(Various().eval(), (torch.zeros(2, 3, 16, 24),), dynamic_shapes=auto, strict=strict), various)
    assert exported(various, CPU).read(pictures).shape == (2, 19)


@pytest.mark.parametrize(
    "code",
    [
        *(
            "f()",
            "Symbol",
            "x.__class__",
            "(lambda: 1)()",
            "[1 for _ in x]",
            "Max('1', 2)",
            "9**9**9",
            "Pow(9, Pow(9, 9))",
        ),
        *(
            "1 << 10**9",
            "'a' * 10**9",
            "math.factorial(9)",
            "lambdify('x', 'y')",
            "(" * 10**4,
            "1" + "+1" * 10**5,
            "",
            "1\n2",
        ),
        *("f'{x}'", "Symbol('a b')", "Symbol(name='__x')", "L[x()]", "x if y() else z", "torch.load('x')", "9" * 5000),
    ],
)
def test_what_is_more_than_arithmetic_is_seen(code: str) -> None:
    assert code == "Symbol" or not _is_arithmetic(code)


@pytest.mark.parametrize(
    "code",
    [
        *("Add(Symbol('s0', positive=True, integer=True), Integer(-2))", "L['x'].size()[0] // 2 + 1 >= 3", "8*s0"),
        *("FloatPow(ToFloat(Symbol('s0')), Float('0.5', precision=53))", "Pow(Symbol('s0'), Integer(2))", "s0**2"),
        *("max(1, math.trunc(0.5*torch.sym_float(L['x'].size()[2] // 8)))", "Mod(s0, 8) == 0 and not s1 < 2", "-1"),
    ],
)
def test_arithmetic_is_seen(code: str) -> None:
    assert _is_arithmetic(code)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "bomb", "twice", "outside"])
def test_an_odd_file_is_one_line(kind: str, plain_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "odd.pt2"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "bomb":
        rewritten(plain_file, file, lambda program: program.update(guards_code=["1" * 10**7]), zipfile.ZIP_DEFLATED)
    else:
        rewritten(plain_file, file, lambda _: None)
        with zipfile.ZipFile(file, "a") as archive:
            name = archive.namelist()[0]
            with pytest.warns(UserWarning, match="Duplicate") if kind == "twice" else open(os.devnull):  # noqa: PTH123
                archive.writestr(name if kind == "twice" else "a/../../b c", b"")
    with pytest.raises(ValueError, match=r"odd\.pt2: ") as error:
        exported(file, CPU)
    assert len(str(error.value)) - len(str(tmp_path)) < 200


def test_features_that_are_not_finite_are_no_features(tmp_path: Path) -> None:
    network = Network().eval()
    network.convolution.weight.data[0] = float("nan")
    file = tmp_path / "nan.pt2"
    save(export(network, (torch.zeros(2, 3, 16, 16),)), file)
    with pytest.raises(ValueError, match=r"nan\.pt2: gives numbers that are not finite"):
        exported(file, CPU).read(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


def test_whatever_an_operation_raises_is_one_line(plain_file: Path, tmp_path: Path) -> None:
    def too_much(program: dict[str, Any]) -> None:
        [argument] = [one for one in graph(program)["nodes"][-1]["inputs"] if one["name"] == "dim"]
        argument["arg"] = {"as_ints": [7, 9]}

    file = rewritten(plain_file, tmp_path / "odd.pt2", too_much)
    with pytest.raises(ValueError, match=r"odd\.pt2: does not take 2 pictures of 16x16 \(Dimension out of range"):
        exported(file, CPU).read(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
