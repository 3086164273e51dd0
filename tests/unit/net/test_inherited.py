"""Sockets of a service manager."""

from __future__ import annotations

import os
import socket

import pytest

from runner.errors import RunnerError
from runner.net import take_inherited


def test_sockets_for_another_process_are_not_ours() -> None:
    assert take_inherited({}, pid=7) == []
    assert take_inherited({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, pid=7) == []


def test_a_listening_socket_is_taken_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        fd = os.dup(opened.fileno())
        os.set_inheritable(fd, True)
        env = {"LISTEN_PID": "7", "LISTEN_FDS": "1"}
        [taken] = take_inherited(env, pid=7, first_fd=fd)
        with taken.listener as listener:
            assert taken.address == opened.getsockname()
            assert taken.path == ""
            assert not listener.getblocking()
            assert not listener.get_inheritable()


@pytest.mark.parametrize("count", ["", "x", "-1"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(RunnerError, match="LISTEN_FDS: expected a number"):
        take_inherited({"LISTEN_PID": "7", "LISTEN_FDS": count}, pid=7)


def test_what_does_not_listen_is_refused() -> None:
    env = {"LISTEN_PID": "7", "LISTEN_FDS": "1"}
    with socket.socket() as silent:
        fd = os.dup(silent.fileno())
        with pytest.raises(RunnerError, match=f"descriptor {fd} does not listen"):
            take_inherited(env, pid=7, first_fd=fd)
    reader, writer = os.pipe()
    with pytest.raises(RunnerError, match=f"descriptor {reader} is no socket"):
        take_inherited(env, pid=7, first_fd=reader)
    os.close(reader)
    os.close(writer)
