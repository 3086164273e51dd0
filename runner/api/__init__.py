"""Requests in, responses out: the gate, the routes, and one package per family of routes.

Parsing and rendering are pure functions (``gate``, ``keys``, ``routes``, ``jsonbody``, ``faults``,
``cards``, ``openai.parse``, ``openai.render``, ``management.render``); ``app`` wires them to
``runner.net`` and ``runner.service``. Nothing here knows sockets or the engine.
"""

from __future__ import annotations

from runner.api.app import About, App
from runner.api.gate import Policy
from runner.api.keys import Keys, Scope, parse_keys
from runner.api.management.engines import Backend
from runner.api.remote_media import Fetch, RemoteMedia

__all__ = [
    "About",
    "App",
    "Backend",
    "Fetch",
    "Keys",
    "Policy",
    "RemoteMedia",
    "Scope",
    "parse_keys",
]
