"""The command line: a client of the daemon's HTTP API. Only ``serve`` touches the daemon itself.

Data goes to stdout, words for people to stderr. What ``list``, ``ps``, ``status`` and ``version``
import is kept small by a test, because people type them and shells wait for them.
"""
