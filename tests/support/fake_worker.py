"""A child process that speaks the wire protocol and misbehaves as told.

How it loads is told by arguments, how it answers by the text of each request: see ``Fake``.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from typing import Any

from runner.wire import encode, to_worker_decoder
from runner.wire.messages import (
    Beat,
    Begun,
    Cancel,
    Ended,
    EngineSettings,
    Event,
    Events,
    Failed,
    Load,
    LoadFailed,
    LoadProgress,
    Measured,
    ModelFacts,
    Piece,
    Rates,
    Ready,
    Stop,
    Submit,
    TextPrompt,
    Timings,
    Tune,
    Tuned,
    TunedSettings,
)

FACTS = ModelFacts(
    architecture="fake",
    description="a fake model",
    parameters=1,
    size_bytes=1,
    context_train=64,
    vocabulary=8,
    has_chat_template=False,
    chat_template="",
    chat_template_caps={},
    pooling=False,
    bos_token="",
    eos_token="",
)
SETTINGS = EngineSettings(
    context_size=64,
    total_cells=64,
    parallel=1,
    slots=1,
    threads=1,
    batch_size=1,
    ubatch_size=1,
    flash_attention=False,
    kv_layout="unified",
    kv_type="f16",
    gpu_layers=0,
    target_gap_ms=100,
    max_queue=1,
)

TUNED = TunedSettings(
    flash_attention=True, kv_layout="streams", ubatch_size=1, threads=1, threads_batch=1
)


def ready(pid: int) -> Ready:
    return Ready(
        pid=pid, model=FACTS, settings=SETTINGS, system_info="fake", devices=(), load_ms=1.0
    )


def ended(id: int, tokens: int) -> Ended:
    timings = Timings(cache_n=0, prompt_n=1, prompt_ms=0.0, predicted_n=tokens, predicted_ms=0.0)
    return Ended(
        id=id,
        reason="eos",
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=tokens,
        timings=timings,
    )


class Fake:
    """One worker. Every ``do_WORD`` answers a request whose text is ``WORD argument``."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.decoder = to_worker_decoder()
        self.running: list[int] = []  # ids that get a piece every round
        self.held: list[int] = []  # ids that get nothing until cancelled
        self.beats = True
        self.reads = True
        self.step_running_s = 0.0

    def send(self, message: Any) -> None:
        self.write(encode(message))

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]

    def events(self, *events: Event) -> None:
        self.send(Events(events=events))

    def run(self) -> None:
        while True:
            wait_s = 0.0005 if self.running else self.options.beat
            readable, _, _ = select.select([0] if self.reads else [], [], [], wait_s)
            if readable:
                data = os.read(0, 1 << 16)
                if not data:
                    os._exit(0)
                for message in self.decoder.feed(data):
                    self.act(message)
            if self.running:
                self.events(*(Piece(id, "x", 1) for id in self.running))
            if self.beats:
                self.beat()

    def beat(self) -> None:
        self.send(
            Beat(
                step_running_s=self.step_running_s,
                running=len(self.running),
                waiting=0,
                cells_used=0,
                cells_total=64,
                prompt_tokens=0,
                cached_tokens=0,
                completion_tokens=0,
                steps=0,
                resident_bytes=1,
            )
        )

    def act(self, message: Any) -> None:
        match message:
            case Load():
                self.load()
            case Submit(id=id, prompt=TextPrompt(text=text)):
                word, _, argument = text.partition(" ")
                if word != "mute":
                    self.events(Begun(id, 1, 0))
                getattr(self, f"do_{word}")(id, argument)
            case Cancel(id=id):
                for ids in (self.running, self.held):
                    if id in ids:
                        ids.remove(id)
                        self.events(Failed(id=id, kind="cancelled", message="cancelled"))
            case Tune(stop=stop):
                self.tune(stop=stop)
            case Stop():
                if not self.options.ignore_stop:
                    os._exit(0)

    def load(self) -> None:
        word, _, argument = self.options.load.partition(" ")
        match word:
            case "steps":
                count = int(argument)
                for step in range(count):
                    self.send(LoadProgress(fraction=(step + 1) / count))
                self.send(ready(os.getpid()))
            case "stall":
                self.send(LoadProgress(fraction=0.25))
                self.reads = self.beats = False
            case "fail":
                print("tensor blk.0 is missing", file=sys.stderr, flush=True)
                self.send(LoadFailed(kind=argument, message="no such tensor", hint="get another"))
                os._exit(1)
            case "signal":
                os.kill(os.getpid(), signal.Signals[argument])
            case "garbage":
                self.write(b"\xff\xff\xff\xff")

    def tune(self, *, stop: bool) -> None:
        """Measure one candidate at once, and come to an end only when told so."""
        if stop or self.options.tune == "die":
            os._exit(7)
        rates = Rates(one=1.0, one_deep=1.0, many=1.0, prompt=1.0)
        self.send(Measured(settings=TUNED, rates=rates, rows=1, depth=64))
        if self.options.tune == "end":
            self.send(Tuned(settings=TUNED, gain=1.5))

    def do_tokens(self, id: int, argument: str) -> None:
        for index in range(int(argument)):
            self.events(Piece(id, f"{index} ", 1))
        self.events(ended(id, int(argument)))

    def do_forever(self, id: int, argument: str) -> None:
        self.running.append(id)

    def do_hold(self, id: int, argument: str) -> None:
        self.held.append(id)

    def do_signal(self, id: int, argument: str) -> None:
        self.events(Piece(id, "half", 1))
        os.kill(os.getpid(), signal.Signals[argument])

    def do_exit(self, id: int, argument: str) -> None:
        print("last words", file=sys.stderr, flush=True)
        os._exit(int(argument))

    def do_silence(self, id: int, argument: str) -> None:
        self.beats = False

    def do_step(self, id: int, argument: str) -> None:
        self.step_running_s = float(argument)

    def do_garbage(self, id: int, argument: str) -> None:
        self.write(b"\x05\0\0\0llama_print_timings")

    def do_unknown(self, id: int, argument: str) -> None:
        self.events(Piece(id + 1000, "whose?", 1))

    def do_twice(self, id: int, argument: str) -> None:
        self.events(ended(id, 0), ended(id, 0))

    def do_again(self, id: int, argument: str) -> None:
        self.send(ready(os.getpid()))

    def do_deaf(self, id: int, argument: str) -> None:
        self.reads = False

    def do_close(self, id: int, argument: str) -> None:
        self.beats = False
        os.close(1)

    def do_stderr(self, id: int, argument: str) -> None:
        lines = (b"noise " * 20 + b"\n") * 500
        for _ in range(max(1, int(argument) // len(lines))):
            os.write(2, lines)
        os.write(2, b"the very last line\n")
        self.events(ended(id, 0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", default="steps 2")
    parser.add_argument("--tune", default="end", choices=("end", "hold", "die"))
    parser.add_argument("--beat", type=float, default=0.02)
    parser.add_argument("--ignore-stop", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    options = parser.parse_args()
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Fake(options).run()


main()
