"""Docker Model Runner's commands and flags (dmr-contract.md 2.3, 2.7, 4.5): ours take them all."""

from __future__ import annotations

import argparse
import importlib

import pytest

from runner.cli.main import COMMANDS, find_command
from runner.cli.parser import Parser
from tests.support.console import run_command

SERVER = (
    "--port --host --gpu --backend --do-not-track --debug --proxy-cert"
    " --tls --tls-port --tls-cert --tls-key"
)
FLAGS = {
    "run": "--debug --color -d --detach --openaiurl --websearch",
    "pull": "",
    "push": "",
    "list": "--json --openai -q --quiet --openaiurl",
    "inspect": "--openai -r --remote",
    "show": "-r --remote",
    "ps": "",
    "df": "",
    "status": "--json",
    "unload": "--all --backend",
    "rm": "-f --force",
    "tag": "",
    "purge": "-f --force",
    "package": "--gguf --safetensors-dir --dduf --from -l --license --chat-template --mmproj"
    " --context-size --format --push",
    "configure": "--context-size --mode --keep-alive --think --speculative-draft-model"
    " --speculative-num-tokens --speculative-min-acceptance-rate --hf_overrides"
    " --gpu-memory-utilization",
    "requests": "-f --follow --include-existing --model",
    "logs": "-f --follow --no-engines",
    "version": "",
    "search": "-n --limit --source --json",
    "bench": "--concurrency --duration --prompt --timeout --json",
    "launch": "--port --image --detach --dry-run --config --model",
    "skills": "--codex --claude --opencode --dest -f",
    "context": "--host --tls --tls-skip-verify --tls-ca-cert --description",
    "install-runner": f"{SERVER} --llama-server-version",
    "start-runner": SERVER,
    "restart-runner": SERVER,
    "reinstall-runner": SERVER,
    "stop-runner": "--models",
    "uninstall-runner": "--models --images --backend",
    "compose": "--project-name --model --context-size --runtime-flags --backend"
    " --speculative-draft-model --speculative-num-tokens --speculative-min-acceptance-rate",
}
ALIASES = {"ls": "list", "stop": "unload", "config": "configure"}
# Its command line has it only where it is built with a gateway of its own, written in Rust.
LEFT_OUT = {"gateway"}

# Known, and an error that says what to do instead.
REFUSED = {
    ("package", "--dduf"): "there is no engine here for models that make images",
    ("uninstall-runner", "--backend"): "the one engine is part of the runner",
    ("install-runner", "--llama-server-version"): "the engine is built from pinned sources",
    ("start-runner", "--tls-cert"): "put a reverse proxy with TLS before it",
    ("reinstall-runner", "--proxy-cert"): "the system's certificates count",
}


@pytest.mark.parametrize("name", FLAGS)
def test_a_command_takes_docker_s_flags(name: str) -> None:
    actions = declared(name)
    known = {flag for action in actions for flag in action.option_strings}
    assert set(FLAGS[name].split()) - known == set()


def test_every_command_and_alias_is_there() -> None:
    assert {each.name for each in COMMANDS} & LEFT_OUT == set()
    assert {alias: find_command(alias).name for alias in ALIASES} == ALIASES


@pytest.mark.parametrize(("name", "flag"), REFUSED)
def test_what_makes_no_sense_here_says_what_does(name: str, flag: str) -> None:
    said = REFUSED[name, flag]
    for arguments in ([flag], [flag, "x"], [f"{flag}=x"]):
        code, out, err, remote = run_command({}, name, *arguments)
        assert (code, out, remote.requests) == (2, "", [])
        assert err.startswith(f"{flag}: ")
        assert said in err


def declared(name: str) -> list[argparse.Action]:
    command = find_command(name)
    parser = Parser(command.name, command.summary)
    importlib.import_module(command.module).configure(parser)
    return parser.declared()
