"""``launch``: run a program that is told of this server, or print what it must be told."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil

from runner.cli.apps import APPS, KEY, App, Options, Plan, Server
from runner.cli.background import reach
from runner.cli.console import Console
from runner.cli.endpoint import Endpoint, container_address, find_endpoints, tcp_address
from runner.cli.output import render_table
from runner.cli.parser import add_host
from runner.cli.remote import API_KEY_VARIABLE
from runner.errors import Kind, RunnerError
from runner.places import clean


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("app", nargs="?", metavar="APP", help="which; without one: list them")
    parser.add_argument("arguments", nargs="*", metavar="-- ARG", help="of the program itself")
    parser.add_argument("--model", default="", metavar="MODEL", help="the model it shall use")
    parser.add_argument("--port", type=int, metavar="N", help="where a container can be visited")
    parser.add_argument("--image", default="", help="another image for a container")
    parser.add_argument("-d", "--detach", action="store_true", help="leave a container running")
    parser.add_argument(
        "--dry-run", "--config", action="store_true", help="print what would be run, and leave"
    )
    parser.add_argument("--json", action="store_true", help="the programs, or the plan, as JSON")
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """List, print or become the program."""
    if args.app is None:
        console.write(render_apps(is_json=args.json))
        return 0
    app = find_app(args.app)
    if app.needs_model and not args.model:
        raise RunnerError(
            Kind.USAGE, f"{app.name} needs a model: --model NAME", hint="see: runner list"
        )
    is_run = not (args.dry_run or args.json)
    program = find_program(app, console) if is_run else ""
    plan = app.plan(
        find_server(args, console, app, is_started=is_run),
        Options(args.port, args.image, args.detach),
    )
    plan = plan._replace(command=(*plan.command, *args.arguments))
    if args.json:
        console.write(json.dumps({"command": plan.command, "env": plan.env}, indent=4) + "\n")
    elif args.dry_run or not plan.command:
        console.write(render_plan(plan))
    else:
        if plan.note:
            console.say(plan.note)
        os.execve(program, plan.command, {**console.env, **plan.env})
    return 0


def find_app(name: str) -> App:
    """Return the program of that name; RunnerError(USAGE) names them all."""
    for app in APPS:
        if app.name == name:
            return app
    names = ", ".join(app.name for app in APPS)
    raise RunnerError(Kind.USAGE, f"there is no program {name!r}", hint=f"one of: {names}")


def find_server(
    args: argparse.Namespace, console: Console, app: App, *, is_started: bool
) -> Server:
    """Tell where the server is; with ``is_started`` one is started if none answers."""
    candidates = find_endpoints(console.env, args.host)
    used = candidates[-1]
    if is_started:
        used = reach(console, args.host, containers=app.is_container).endpoint
    own = tcp_address(used, candidates)
    outer = container_address(console.env, args.host, own) if app.is_container else own
    if app.is_container and is_loopback(outer):
        console.say(
            f"Containers may not reach {outer}; for them, start the server with: "
            "runner serve --containers"
        )
    key = clean(console.env.get(API_KEY_VARIABLE)) or KEY
    return Server(str(own), str(outer), key, args.model)


def is_loopback(address: Endpoint) -> bool:
    """Whether an address is this machine's own, which a container's own would hide."""
    return address.host in ("127.0.0.1", "localhost", "::1")


def render_apps(*, is_json: bool) -> str:
    """Render the list of programs."""
    if is_json:
        apps = [{"name": app.name, "description": app.summary} for app in APPS]
        return json.dumps(apps, indent=4) + "\n"
    return render_table(("APP", "WHAT IT IS"), [[app.name, app.summary] for app in APPS])


def render_plan(plan: Plan) -> str:
    """Render lines for a shell."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in plan.env.items()]
    if plan.command:
        lines.append(f"{shlex.join(plan.command)}\n")
    return "".join(lines)


def find_program(app: App, console: Console) -> str:
    """Return where the program is, empty if there is none to run; RunnerError with the remedy."""
    if not app.remedy:
        return ""
    name = "docker" if app.is_container else app.name
    program = shutil.which(name, path=console.env.get("PATH"))
    if program is None:
        raise RunnerError(Kind.USAGE, f"{name} is not installed", hint=app.remedy)
    return program
