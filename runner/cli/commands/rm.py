"""``rm``: remove names of models, and models without a name left."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from runner.cli.console import Console
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.cli.remote import Remote, model_path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or an id")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="remove an id with several names, or a model that is in use",
    )
    parser.add_argument("--json", action="store_true", help="what went, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Remove one after the other, and stop at the first that cannot be removed."""
    steps = remove(console.remote(args.host), args.models, is_forced=args.force)
    console.write_each(steps, _render_step, as_json=args.json)
    return 0


def remove(remote: Remote, models: Sequence[str], *, is_forced: bool) -> Iterator[dict[str, str]]:
    """Yield each step as it is made: ``{"Untagged": tag}`` or ``{"Deleted": id}``.

    Raises RunnerError for the first model that cannot be removed.
    """
    # With `force` it is a model that is removed, also one that is called `purge`.
    query = f"?force={'true' if is_forced else 'false'}"
    for model in models:
        yield from remote.call("DELETE", model_path(model) + query)


def _render_step(step: dict[str, str]) -> str:
    return "".join(f"{action}: {printable(what)}\n" for action, what in step.items())
