"""Responses on disk: found again by whom they belong to, up to a bound and for a while."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from runner.errors import Kind, RunnerError
from runner.service.responses import Bounds, ResponseStore, StoredResponse

DAY_S = 86400.0


def response(number: int, *, owner: str = "", previous: int | None = None) -> StoredResponse:
    return StoredResponse(
        id=name(number),
        owner=owner,
        previous=None if previous is None else name(previous),
        input=({"id": f"in_{number}", "type": "message"},),
        response={"id": name(number), "output": [{"id": f"out_{number}"}]},
    )


def name(number: int) -> str:
    return f"resp_{number:032x}"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(main())


async def is_missing(store: ResponseStore, id: str, owner: str = "") -> bool:
    try:
        await store.recall(id, owner)
    except RunnerError as error:
        assert error.kind is Kind.NOT_FOUND
        return True
    return False


def test_a_response_is_found_at_once_and_by_the_next_daemon(tmp_path: Path) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path / "responses")
        store.keep(response(1))
        assert await store.recall(name(1), "") == response(1)
        await store.close()
        assert await ResponseStore(tmp_path / "responses").recall(name(1), "") == response(1)
        [file] = (tmp_path / "responses").iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

    run(test)


def test_a_response_belongs_to_its_key(tmp_path: Path) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(1, owner="a"))
        store.keep(response(2, owner="b", previous=1))
        for closing in (False, True):
            if closing:
                await store.close()
            assert await is_missing(store, name(1), "b")
            assert await is_missing(store, name(1), "")
            assert not await is_missing(store, name(1), "a")
            with pytest.raises(RunnerError):
                await store.chain(name(2), "b")
        with pytest.raises(RunnerError):
            await store.forget(name(1), "b")
        assert not await is_missing(store, name(1), "a")

    run(test)


def test_a_chain_is_told_from_its_beginning(tmp_path: Path) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(1))
        await store.close()
        store.keep(response(2, previous=1))
        store.keep(response(3, previous=2))
        chain = await store.chain(name(3), "")
        assert [one.id for one in chain] == [name(1), name(2), name(3)]
        await store.forget(name(2), "")
        with pytest.raises(RunnerError) as caught:
            await store.chain(name(3), "")
        assert caught.value.kind is Kind.NOT_FOUND
        await store.close()

    run(test)


def test_a_chain_has_an_end_whatever_the_files_say(tmp_path: Path) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(1, previous=2))
        store.keep(response(2, previous=1))
        with pytest.raises(RunnerError) as caught:
            await store.chain(name(1), "")
        assert caught.value.kind is Kind.INVALID_REQUEST
        await store.close()

    run(test)


def test_what_was_not_used_for_long_is_gone(tmp_path: Path) -> None:
    now_s = 1_800_000_000.0

    async def test() -> None:
        nonlocal now_s
        store = ResponseStore(tmp_path, now_s=lambda: now_s)
        for number in (1, 2):
            store.keep(response(number))
        await store.close()
        now_s += 20 * DAY_S
        assert not await is_missing(store, name(1))
        now_s += 20 * DAY_S
        assert not await is_missing(store, name(1))
        assert await is_missing(store, name(2))

    run(test)


def test_what_is_too_old_leaves_the_disk_though_there_is_room(tmp_path: Path) -> None:
    now_s = 1_800_000_000.0

    async def test() -> None:
        nonlocal now_s
        store = ResponseStore(tmp_path, now_s=lambda: now_s)
        for number in (1, 2, 3):
            store.keep(response(number))
            await store.close()
            now_s += 20 * DAY_S
        assert {path.stem for path in tmp_path.iterdir()} == {name(2), name(3)}

    run(test)


def test_what_is_deleted_while_room_is_made_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = tmp_path / f"{name(1)}.json"
    deleted.write_bytes(b"{")
    scan = os.scandir

    def scan_then_delete(folder: Path) -> contextlib.closing[Iterator[os.DirEntry[str]]]:
        with scan(folder) as entries:
            found = list(entries)
        deleted.unlink(missing_ok=True)
        return contextlib.closing(generated(found))

    monkeypatch.setattr(os, "scandir", scan_then_delete)

    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(2))
        await store.close()
        assert not await is_missing(store, name(2))

    run(test)
    assert caplog.text == ""


def test_a_deletion_that_is_cut_off_does_not_end_the_writing(tmp_path: Path) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(1))
        forgetting = asyncio.create_task(store.forget(name(1), ""))
        await asyncio.sleep(0)
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
        assert forgetting.cancelled()
        assert not await is_missing(store, name(1))
        await store.close()
        assert [path.stem for path in tmp_path.iterdir()] == [name(1)]

    run(test)


def test_a_response_is_read_though_its_use_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def test() -> None:
        store = ResponseStore(tmp_path)
        store.keep(response(1))
        await store.close()
        monkeypatch.setattr(os, "utime", refuse)
        assert await store.recall(name(1), "") == response(1)

    run(test)


def generated(entries: list[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    yield from entries


@pytest.mark.parametrize("bounds", [Bounds(count=10), Bounds(size_bytes=2000)])
def test_the_oldest_make_room(tmp_path: Path, bounds: Bounds) -> None:
    async def test() -> None:
        store = ResponseStore(tmp_path, bounds, now_s=count(20_000.0).__next__)
        for number in range(40):
            store.keep(response(number))
            await store.close()
            assert len(list(tmp_path.iterdir())) <= 10
        left = sorted(int(path.stem[5:], 16) for path in tmp_path.iterdir())
        assert 5 <= len(left) <= 10
        assert left == list(range(40 - len(left), 40))

    run(test)


def test_what_a_crash_left_is_removed_and_strangers_stay(tmp_path: Path) -> None:
    async def test() -> None:
        rest, new, strange = (
            tmp_path / f"{name(8)}.json.0a0b0c0d",
            tmp_path / f"{name(9)}.json.0a0b0c0d",
            tmp_path / "notes.txt",
        )
        for path in (rest, new, strange):
            path.write_bytes(b"{")
        for path in (rest, strange):
            os.utime(path, (0, 0))
        store = ResponseStore(tmp_path)
        store.keep(response(1))
        await store.close()
        assert not rest.exists()
        assert new.exists()
        assert strange.exists()

    run(test)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"id":1}', b"\xff", b'{"id":"%b"}' % name(2).encode()]
)
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, damage: bytes) -> None:
    async def test() -> None:
        (tmp_path / f"{name(1)}.json").write_bytes(damage)
        assert await is_missing(ResponseStore(tmp_path), name(1))

    run(test)


@pytest.mark.parametrize("id", ["", "resp_1", "../secret", f"resp_{'A' * 32}", f"{name(1)}\n"])
def test_what_is_no_id_of_ours_is_never_a_path(tmp_path: Path, id: str) -> None:
    async def test() -> None:
        assert await is_missing(ResponseStore(tmp_path), id)

    run(test)


def test_a_disk_that_takes_nothing_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def test() -> None:
        store = ResponseStore(tmp_path / "file" / "responses")
        store.keep(response(1))
        await store.close()
        assert await is_missing(store, name(1))

    run(test)
    assert "is not kept" in caplog.text
