"""llama-server's flags: those that set options, and no others."""

from __future__ import annotations

import pytest

from runner.errors import Kind, RunnerError
from runner.service.flags import FLAGS, parse_flags, render_flags
from runner.service.options import Options

EXAMPLES = {
    "--cache-type-k": "q8_0",
    "--flash-attn": "on",
    "--top-p": "0.9",
    "--min-p": "0.05",
    "--typical": "0.5",
}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--temp", "0.1"], Options(temperature=0.1)),
        (["--temp=0.1", "--top-k", "40"], Options(temperature=0.1, top_k=40)),
        (["-c", "8192", "-np", "2", "-t", "3"], Options(context_size=8192, parallel=2, threads=3)),
        (["-c", "1024", "--ctx-size", "2048"], Options(context_size=2048)),
        (["-ngl", "all"], Options(gpu_layers=-1)),
        (["-fa", "on"], Options(flash_attention=True)),
        (["-fa", "auto"], Options()),
        (["-ctk", "q8_0", "-ctv", "q8_0"], Options(kv_type="q8_0")),
        (["-kvu"], Options(kv_layout="unified")),
        (["--no-kv-unified", "--embeddings", "--jinja"], Options(kv_layout="streams")),
        (["--seed", "7", "--repeat-last-n", "-1"], Options(seed=7, repeat_last_n=-1)),
        ([], Options()),
    ],
)
def test_what_flags_set(words: list[str], options: Options) -> None:
    assert parse_flags(words, param="runtime-flags") == options


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_what_is_rendered_reads_the_same_again(flag: object) -> None:
    spelling = flag.spellings[0]  # type: ignore[attr-defined]
    options = parse_flags([spelling, EXAMPLES.get(spelling, "2")], param="x")
    assert parse_flags(render_flags(options), param="x") == options != Options()


@pytest.mark.parametrize("layout", ["unified", "streams"])
def test_a_layout_is_rendered_as_its_switch(layout: str) -> None:
    options = Options(kv_layout=layout)  # type: ignore[arg-type]
    assert parse_flags(render_flags(options), param="x") == options


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--model", "/etc/passwd"], "'--model' is not a flag that can be set for a model"),
        (["--log-file=/tmp/x"], "'--log-file' is not a flag"),
        (["--api-key", "x"], "'--api-key' is not a flag"),
        (["--host", "0.0.0.0"], "'--host' is not a flag"),
        (["8192"], "'8192' is not a flag"),
        (["--temp"], "--temp takes a value"),
        (["--temp", "hot"], "--temp takes a number from 0 to 2"),
        (["--temp", "nan"], "--temp takes a number from 0 to 2"),
        (["-c", "0"], "-c takes a whole number from 1 to 2147483647"),
        (["-c", "1e4"], "-c takes a whole number"),
        (["-c", "9" * 5000], "-c takes a whole number"),
        (["-t", "513"], "-t takes a whole number from 1 to 512"),
        (["-b", "1"], "-b takes a whole number from 2 to 65536"),
        (["-fa", "maybe"], "-fa takes on, off or auto"),
        (["-ctk", "q2_k"], "-ctk takes f32 or f16 or bf16 or q8_0 or q4_0"),
    ],
)
def test_what_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(RunnerError) as caught:
        parse_flags(words, param="runtime-flags")
    error = caught.value
    assert error.message.startswith(f"runtime-flags: {problem}")
    assert (error.kind, error.param) == (Kind.INVALID_REQUEST, "runtime-flags")
    assert error.hint is not None
    assert "--ctx-size" in error.hint
