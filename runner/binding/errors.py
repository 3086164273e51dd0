"""What a call into the native library can answer instead of a result."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The ``RN_E_*`` codes of ``runner_native.h``."""

    ARGUMENT = -1  # an argument is wrong: the message names it
    EXCEPTION = -2  # llama.cpp failed; the message is its text
    NO_MEMORY = -3
    STATE = -4  # not possible now
    GRAMMAR = -5  # a grammar or JSON schema does not compile
    PARSE = -6  # JSON or a chat template does not parse or render
    CANCELLED = -7
    UNSUPPORTED = -8  # this model or build cannot do it


class NativeError(Exception):
    """A native call failed: ``code`` says how, ``message`` is the library's own sentence."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code.name.lower()}: {message}")
        self.code = code
        self.message = message
