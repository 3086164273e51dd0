"""Bodies whose fields that had no effect are named with the answer, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from runner.api.call import Call
from runner.api.choosing import ignored_header
from runner.api.fields import Fields, Shape

T = TypeVar("T")


async def read(call: Call, shape: Shape, parse: Callable[[Fields], T]) -> T:
    """Read a body of a shape; what ``parse`` does not take is told in ``X-Ignored-Fields``."""

    def take(body: dict[str, Any]) -> tuple[T, tuple[str, ...]]:
        fields = Fields(body, shape=shape)
        return parse(fields), fields.untaken()

    value, ignored = await call.read(take)
    call.headers.extend(ignored_header(ignored))
    return value
