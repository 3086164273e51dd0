"""The parent's side of one worker process: start it, talk to it, watch it, end it."""

from __future__ import annotations

from runner.supervise.child import Command, worker_command
from runner.supervise.completion import Completion
from runner.supervise.death import Death
from runner.supervise.watch import Patience
from runner.supervise.worker import Worker

__all__ = ["Command", "Completion", "Death", "Patience", "Worker", "worker_command"]
