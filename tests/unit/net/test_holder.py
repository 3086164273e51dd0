"""The kernel's table of sockets."""

from __future__ import annotations

import pytest

from runner.net.holder import listening_inodes

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3092 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1
   1: 0100007F:3092 0100007F:8A2C 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1
   2: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1
"""


@pytest.mark.parametrize(("port", "inodes"), [(12434, {"4711"}), (80, {"4713"}), (12435, set())])
def test_only_who_listens_on_the_port_counts(port: int, inodes: set[str]) -> None:
    assert listening_inodes(TABLE.splitlines(), port) == inodes
