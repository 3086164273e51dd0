"""Items that a request names: found by their ids, and bounded in what they come to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runner.api.responses import references
from runner.api.responses.references import References
from runner.errors import Kind, RunnerError
from runner.service import ResponseStore, StoredResponse

KEYS = ("a" * 32, "b" * 32)


def test_what_is_named_is_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path)
        for key in KEYS:
            said = {"type": "message", "id": f"msg_{key}i0000", "content": "x" * 1000}
            store.keep(
                StoredResponse(
                    id=f"resp_{key}",
                    owner="",
                    previous=None,
                    input=(said,),
                    response={"output": []},
                )
            )
        await store.close()
        names = [{"type": "item_reference", "id": f"msg_{key}i0000"} for key in KEYS]
        said = {"type": "message", "role": "user"}
        found = await References(store, "").resolve([said, *names])
        assert [item.get("id") for item in found] == [None, names[0]["id"], names[1]["id"]]
        monkeypatch.setattr(references, "MAX_BYTES", 2000)
        with pytest.raises(RunnerError) as refused:
            await References(store, "").resolve(names)
        assert (refused.value.kind, refused.value.param) == (Kind.INVALID_REQUEST, "input[1].id")

    asyncio.run(test())
