"""The ctypes table says what the header says."""

from __future__ import annotations

import ctypes as c
import re
from pathlib import Path
from typing import Any

import pytest

from runner.binding import Code, Flag
from runner.binding.prototypes import ABI, PROTOTYPES, Buf, File, Rows, StepIn, StepOut

HEADER = Path(__file__).parents[3] / "native" / "include" / "runner_native.h"
STRUCTS = {
    "rn_buf": Buf,
    "rn_step_in": StepIn,
    "rn_step_out": StepOut,
    "rn_rows": Rows,
    "rn_file": File,
}
SCALARS = {
    "int32_t": c.c_int32,
    "int64_t": c.c_int64,
    "uint32_t": c.c_uint32,
    "uint64_t": c.c_uint64,
}
POINTERS = {"char": c.c_char_p, "int32_t": c.POINTER(c.c_int32), "float": c.POINTER(c.c_float)}


def header() -> str:
    """The header without comments."""
    return re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)


def ctype_of(text: str, *, named: bool) -> Any:
    """The ctypes type of a C declaration such as ``const int32_t * out``."""
    words = re.sub(r"\b(const|volatile)\b", "", text).replace("*", " * ").split()
    if named:
        words = words[:-1]
    if words == ["void"]:
        return None
    if "*" not in words:
        return SCALARS[words[0]]
    base = words[0]
    if base in STRUCTS:
        return c.POINTER(STRUCTS[base])
    return POINTERS.get(base, c.c_void_p)


def declared_functions() -> dict[str, tuple[Any, list[Any]]]:
    functions = {}
    for result, name, arguments in re.findall(
        r"RN_API\s+([\w\s*]+?)\b(rn_\w+)\(([^)]*)\);", header()
    ):
        types = (
            [] if arguments == "void" else [ctype_of(a, named=True) for a in arguments.split(",")]
        )
        functions[name] = (ctype_of(result, named=False), types)
    return functions


def declared_fields(struct: str) -> list[tuple[str, Any]]:
    body = re.search(r"typedef struct \{([^}]*)\} " + struct + ";", header())
    assert body is not None
    fields = []
    for line in filter(None, (line.strip() for line in body[1].split(";"))):
        name = line.split()[-1].lstrip("*")
        fields.append((name, c.c_void_p if "*" in line else SCALARS[line.split()[0]]))
    return fields


def declared_constants(prefix: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(prefix + r"(\w+) = (-?\d+)", header())}


def test_every_c_function_has_a_prototype_of_the_same_types() -> None:
    declared = declared_functions()
    assert declared.keys() == PROTOTYPES.keys()
    for name, prototype in PROTOTYPES.items():
        assert declared[name] == prototype, name


@pytest.mark.parametrize(("name", "struct"), STRUCTS.items())
def test_every_struct_has_the_header_s_fields_in_order(
    name: str, struct: type[c.Structure]
) -> None:
    assert declared_fields(name) == [(field[0], field[1]) for field in struct._fields_]


def test_the_header_says_so_when_a_pattern_above_misses_a_declaration() -> None:
    assert header().count("RN_API") - header().count("define RN_API") == len(declared_functions())


def test_abi_codes_and_flags_are_the_header_s() -> None:
    assert re.search(r"#define RN_ABI (\d+)", header())[1] == str(ABI)  # type: ignore[index]
    assert sorted(declared_constants("RN_E_").values()) == sorted(Code)
    flags = declared_constants("RN_OUT_")
    assert flags.pop("LAST") == sum(Flag)
    assert flags == {flag.name: flag.value for flag in Flag}
