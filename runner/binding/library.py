"""Finding and loading the native library, and calling it. Nothing is loaded at import."""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import Code, NativeError
from .prototypes import ABI, PROTOTYPES, Buf

FILE_NAMES = ("librunner_native.so", "librunner_native.dylib", "runner_native.dll")
REMEDY = "build it with: python build_native.py"


def load(path: Path | None = None) -> Library:
    """Load the library at ``path``, or the one beside this module, and refuse one of another ABI.

    Raises ImportError with every place that was tried. The GIL is released during each call.
    """
    places = [path] if path else [Path(__file__).with_name(name) for name in FILE_NAMES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        tried = ", ".join(str(place) for place in places)
        raise ImportError(f"the native library is missing (tried {tried}); {REMEDY}")
    try:
        return Library(c.CDLL(str(found)), found)
    except (OSError, AttributeError) as error:
        raise ImportError(f"cannot load {found}: {error}; {REMEDY}") from error


class Library:
    """The loaded library. Attributes named ``rn_*`` are its functions, typed by the table."""

    def __init__(self, cdll: c.CDLL, path: Path) -> None:
        self.path = path
        self._cdll = cdll
        if (got := cdll.rn_abi_version()) != ABI:
            raise ImportError(f"{path} has ABI {got}, this package needs {ABI}; {REMEDY}")
        for name, (result, arguments) in PROTOTYPES.items():
            function = getattr(cdll, name)
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in PROTOTYPES:
            raise AttributeError(name)
        function: Callable[..., Any] = getattr(self._cdll, name)
        return function

    def check(self, status: int) -> int:
        """Pass a status or count through; raise NativeError for a negative one."""
        if status < 0:
            raise NativeError(Code(status), self._last_error())
        return status

    def check_handle(self, handle: int | None) -> int:
        """Pass a handle through; raise NativeError for NULL."""
        if handle is None:
            raise NativeError(Code(self.rn_last_code()), self._last_error())
        return handle

    def read(self, function: Callable[..., int], *arguments: Any) -> Any:
        """Call a function whose last argument is an ``rn_buf`` of JSON and return the value."""
        return json.loads(self.read_bytes(function, *arguments))

    def read_bytes(self, function: Callable[..., int], *arguments: Any) -> bytes:
        """Call a function whose last argument is an ``rn_buf`` and return its bytes."""
        buf = Buf()
        self.check(function(*arguments, c.byref(buf)))
        return self.take(buf)

    def take(self, buf: Buf) -> bytes:
        """Copy the bytes of a filled buffer and release it."""
        try:
            return c.string_at(buf.ptr, buf.len)
        finally:
            self.rn_buf_free(c.byref(buf))

    def read_json(self, buf: Buf) -> Any:
        """Return the value in a filled buffer of JSON and release it."""
        return json.loads(self.take(buf))

    def init(self, *, log_level: int = 3, kernels: bool = True) -> None:
        """Route all native log lines into the ring: 1 error, 2 warn, 3 info, 5 debug.

        ``kernels``: use our own matrix kernels where there are some; once used, they stay in use.
        """
        self.check(self.rn_init(json_bytes({"log_level": log_level, "kernels": kernels})))

    def drain_log(self) -> list[dict[str, str]]:
        """Take the log lines so far: dicts of ``level`` and ``text``."""
        lines: list[dict[str, str]] = self.read(self.rn_log_drain)
        return lines

    def system(self) -> dict[str, Any]:
        """Versions, CPU features, devices, and the weight types that our own kernels serve."""
        facts: dict[str, Any] = self.read(self.rn_system_json)
        return facts

    def schema_to_grammar(self, schema_json: str) -> str:
        """The GBNF grammar of a JSON schema; NativeError(GRAMMAR) says why there is none."""
        return self.read_bytes(self.rn_schema_to_grammar, schema_json.encode()).decode()

    def _last_error(self) -> str:
        message: bytes = self.rn_last_error()
        return message.decode("utf-8", "replace")


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON as the library takes it."""
    return json.dumps(value, separators=(",", ":")).encode()
