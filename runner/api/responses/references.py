"""Items of responses that are kept, in the places of a request where they are named."""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner.api.fields import refuse
from runner.api.responses.items import Item
from runner.errors import Kind, RunnerError
from runner.service import ResponseStore

MAX_BYTES = 64 * 1024 * 1024  # of the responses that one request names items of

_ITEM_ID = re.compile(r"[a-z]{1,8}_(?P<key>[0-9a-f]{32})i?[0-9a-f]{4}")


class References:
    """What one request names. A few bytes can name much: so each item once, and all up to a bound.

    The id of an item says which response it is of.
    """

    def __init__(self, store: ResponseStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._items: dict[str, dict[str, Item]] = {}  # by response, then by id
        self._size_bytes = 0
        self._named: set[str] = set()

    async def resolve(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """Return the items, with those in their places that are named.

        Raises NOT_FOUND and INVALID_REQUEST with the place of the name that is at fault.
        """
        return tuple(
            [
                await self._find(item["id"], f"input[{index}].id")
                if item["type"] == "item_reference"
                else item
                for index, item in enumerate(items)
            ]
        )

    async def _find(self, id: str, param: str) -> Item:
        if id in self._named:
            refuse(param, "an item that is not named before", id)
        self._named.add(id)
        if (item := (await self._items_beside(id, param)).get(id)) is None:
            raise RunnerError(Kind.NOT_FOUND, f"{param}: there is no such item", param=param)
        return item

    async def _items_beside(self, id: str, param: str) -> dict[str, Item]:
        """Return the items of the response that an item is of."""
        found = _ITEM_ID.fullmatch(id)
        name = f"resp_{found['key'] if found else ''}"
        if name not in self._items:
            try:
                stored = await self._store.recall(name, self._owner)
            except RunnerError as error:
                raise at(error, param) from None
            self._size_bytes += await self._store.size_bytes(name)
            if self._size_bytes > MAX_BYTES:
                refuse(param, f"items of responses of at most {MAX_BYTES} bytes together", id)
            self._items[name] = {item["id"]: item for item in (*stored.input, *stored.output)}
        return self._items[name]


def at(error: RunnerError, param: str) -> RunnerError:
    """Say which field of a request named what is not there."""
    return RunnerError(error.kind, f"{param}: {error.message}", hint=error.hint, param=param)
