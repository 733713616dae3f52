"""Files of `torch.export.save` that are not trusted: opened only if nothing in them can run code of whoever wrote them.

torch itself evaluates strings of such a file: the expressions of symbolic sizes, the guards, the names of operators,
arguments and types. It would also unpickle entries, and load compiled libraries. So a file is read here, all of its text is
held against a grammar, and torch is given a copy of what was read: no second reader of the archive can see anything else.
"""

import ast
import hashlib
import io
import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from diptych.files import require_file
from diptych.wording import brief, shown

if TYPE_CHECKING:
    from torch.export import ExportedProgram  # takes two seconds to import, and is rarely needed

ENTRY = re.compile(r"[^/]+(/[\w.-]+)+")
NAME = re.compile(r"((?!__)[\w:+-]*\.?)*")
IDENTIFIER = re.compile(r"((?!__)[A-Za-z_]\w*)?")
NUMBER = re.compile(r"-?\d{1,30}(\.\d{0,60})?(e[+-]?\d{1,3})?")
OPERATOR = re.compile(
    r"torch\.ops\.aten\.(__(and|or|xor)__|(?!__|from_file\b|save\b)\w+)\.(?!__)\w+"  # those two write files
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond)"
    r"|torch\._?sym_\w+|math\.(floor|ceil|trunc|sqrt)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
FUNCTIONS = {
    *(
        "Symbol",
        "Integer",
        "Rational",
        "Float",
        "Add",
        "Mul",
        "Max",
        "Min",
        "Mod",
        "Abs",
        "max",
        "min",
        "abs",
        "floor",
        "ceiling",
    ),
    *(
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "Piecewise",
        "Where",
        "Identity",
    ),
    *("LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan", "FloorDiv", "CleanDiv", "CeilDiv", "PythonMod"),
    *(
        "ModularIndexing",
        "IntTrueDiv",
        "FloatTrueDiv",
        "FloatPow",
        "PowByNatural",
        "ToFloat",
        "IsNonOverlappingAndDense",
    ),
    *("TruncToInt", "TruncToFloat", "RoundToInt", "RoundDecimal", "CeilToInt", "FloorToInt", "BitwiseFn_bitwise_and"),
}
ARITHMETIC = (
    *(ast.Expression, ast.Load, ast.Subscript, ast.Tuple, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.unaryop, ast.boolop, ast.cmpop),
)
LARGEST = 2**29  # bytes: ten times that is the most that is held while a network is checked and opened
LARGEST_POWER = 8  # a tower of powers would be worked out
LONGEST = 10_000  # characters of an expression


def open_program(file: Path, expected: str) -> "tuple[str, ExportedProgram]":
    """The SHA-256 of the file, and its program; a `ValueError` for a file that is damaged or holds more than tensors.

    `expected` says in words what kind of network is expected.
    """
    from torch.export import load

    require_file(file)
    if (size := file.stat().st_size) > LARGEST:
        raise ValueError(f"{file}: has {size:,} bytes, and an exported network has {LARGEST:,} at most; give another")
    try:
        data = file.read_bytes()
    except (OSError, MemoryError) as error:
        raise ValueError(f"{file}: cannot be read ({brief(getattr(error, 'strerror', None) or error)})") from error
    try:
        entries = _entries(data)
    except _ForeignError as found:
        raise ValueError(f"{file}: {found}") from None
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"{file}: is damaged ({brief(error)})") from error
    if not any(name.endswith("/archive_format") and content == b"pt2" for name, content in entries.items()):
        raise ValueError(f"{file}: is no exported network; torch.export.save writes one, {expected}")
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch tells of every failure, at length
    try:
        if not (foreign := _foreign(entries)):
            return hashlib.sha256(data).hexdigest(), load(_archive(entries))
    except Exception as error:
        reason = brief(str(error).partition("\n")[0])
        raise ValueError(f"{file}: is damaged, or of another torch than {torch.__version__} ({reason})") from error
    finally:
        logging.disable(before)
    raise ValueError(
        f"{file}: holds more than tensors ({foreign}), which could run code of whoever wrote it; export a network of plain "
        "tensors and layers"
    )


class _ForeignError(Exception):
    """What an archive has and a plain export has not."""


def _entries(data: bytes) -> dict[str, bytes]:
    """The content of an archive by name; empty if it is none."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > len(data):
            raise _ForeignError("is compressed, and torch.export.save compresses nothing; export it again")
        counts = Counter(info.filename for info in infos)
        if odd := [name for name, count in counts.items() if count > 1 or not ENTRY.fullmatch(name)]:
            raise _ForeignError(f"holds more than tensors ({shown(odd[0])}); export it again")
        return {name: archive.read(name) for name in counts}


def _archive(entries: dict[str, bytes]) -> io.BytesIO:
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    copy.seek(0)
    return copy


def _foreign(entries: dict[str, bytes]) -> str:
    """The first thing that is not a plain tensor or a plain operation, in words; empty if there is none.

    The entries of programs lose their notes on where a line came from, which torch would read too.
    """
    for name, content in entries.items():
        if name.endswith(("weights_config.json", "constants_config.json")):
            for payload in json.loads(content)["config"].values():
                if payload["use_pickle"] or not payload["path_name"].startswith(("weight_", "tensor_")):
                    return shown(payload["path_name"])
        elif "/sample_inputs/" in name:
            try:
                torch.load(io.BytesIO(content), weights_only=True)
            except Exception:  # torch would load it again, unsafely
                return name
        elif "/aotinductor/" in name:
            return name
        elif "/models/" in name:
            program = json.loads(content)
            if problem := next(_problems("", program), ""):
                return problem
            entries[name] = json.dumps(program).encode()
    return ""


def _problems(key: str, value: Any) -> Iterator[str]:
    """What a program says beyond its grammar; takes away its notes."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict):
            value["metadata"] = {}
        for name, part in value.items():
            if not NAME.fullmatch(name) and not _is_arithmetic(name):  # such as the range of 8*s0
                yield shown(name)
            yield from _problems(name, part)
    elif isinstance(value, list):
        for part in value:
            yield from _problems(key, part)
    elif isinstance(value, str) and not RULES.get(key, NAME.fullmatch)(value):
        yield f"{key} {shown(value)}"


def _is_arithmetic(code: str) -> bool:
    """Whether an expression does nothing but arithmetic with numbers, symbols and sizes.

    >>> _is_arithmetic("Mul(Integer(3), Symbol('s0', integer=True))"), _is_arithmetic("L['x'].size()[0] >= 1")
    (True, True)
    >>> _is_arithmetic("__import__('os').system('ls')"), _is_arithmetic("Max('f()', 1)"), _is_arithmetic("9**9**9")
    (False, False, False)
    """
    if len(code) > LONGEST:
        return False
    try:
        tree = ast.parse(code.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _is_harmless(tree)


def _is_harmless(node: ast.AST) -> bool:
    match node:
        case ast.Call(ast.Name("Symbol"), [ast.Constant(str(name))], options):
            return bool(name and IDENTIFIER.fullmatch(name)) and all(
                isinstance(one.value, ast.Constant) for one in options
            )
        case ast.Call(ast.Name("Float"), [ast.Constant(str(digits))], options):
            return bool(NUMBER.fullmatch(digits)) and all(isinstance(one.value, ast.Constant) for one in options)
        case ast.Subscript(ast.Name("L"), ast.Constant(str(name))):  # an argument of the network
            return bool(IDENTIFIER.fullmatch(name))
        case ast.Call(ast.Name("Pow" | "FloatPow" | "PowByNatural"), [base, power], []) | ast.BinOp(
            base, ast.Pow(), power
        ):
            return _is_small(power) and _is_harmless(base)
        case ast.Call(ast.Name(function), parts, []):
            return function in FUNCTIONS and all(map(_is_harmless, parts))
        case ast.Call(ast.Attribute(tensor, "size" | "stride" | "storage_offset"), parts, []):
            return _is_harmless(tensor) and all(map(_is_harmless, parts))
        case ast.Call(ast.Attribute(ast.Name("math"), "floor" | "ceil" | "trunc" | "sqrt"), parts, []):
            return all(map(_is_harmless, parts))
        case ast.Call(ast.Attribute(ast.Name("torch"), "sym_float" | "sym_int" | "sym_max" | "sym_min"), parts, []):
            return all(map(_is_harmless, parts))
        case ast.Constant(value):
            return isinstance(value, int | float)
        case ast.Name(name):
            return bool(IDENTIFIER.fullmatch(name))
    return isinstance(node, ARITHMETIC) and all(map(_is_harmless, ast.iter_child_nodes(node)))


def _is_small(power: ast.expr) -> bool:
    match power:
        case ast.Call(ast.Name("Integer"), [inner], []):
            return _is_small(inner)
        case ast.Call(ast.Name("Float"), [ast.Constant(str(digits))], _):
            return bool(NUMBER.fullmatch(digits)) and float(digits) <= LARGEST_POWER
        case ast.UnaryOp(ast.USub(), inner):
            return _is_small(inner)
        case ast.Constant(int(value)) | ast.Constant(float(value)):
            return value <= LARGEST_POWER
    return False


def _is_plain_structure(spec: str) -> bool:
    """Whether a structure of arguments has nothing but tuples, lists and dicts by name: torch would import other types."""

    def is_plain(part: Any) -> bool:
        kinds = (None, "builtins.tuple", "builtins.list", "builtins.dict")
        context = json.loads(part["context"] or "null")
        names = context if isinstance(context, list) else []
        return (
            part["type"] in kinds
            and (context is None or isinstance(context, list))
            and all(isinstance(name, str) for name in names)
            and all(map(is_plain, part["children_spec"]))
        )

    version, tree = json.loads(spec)
    return isinstance(version, int) and is_plain(tree)


RULES: dict[str, Callable[[str], object]] = {
    "expr_str": _is_arithmetic,
    "guards_code": _is_arithmetic,
    "target": OPERATOR.fullmatch,
    "name": IDENTIFIER.fullmatch,
    "forward_arg_names": IDENTIFIER.fullmatch,
    "in_spec": _is_plain_structure,
    "out_spec": _is_plain_structure,
    "as_string": str.isprintable,  # written into the code of the network by `repr`
    "as_strings": str.isprintable,
}
