"""``login``: have the daemon keep a login to a registry, the docker way."""

from __future__ import annotations

import argparse
import getpass

from runner.cli.console import Console
from runner.cli.output import printable
from runner.cli.parser import add_host
from runner.errors import Kind, RunnerError

MAX_PASSWORD_CHARACTERS = 16 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "registry", nargs="?", default="", metavar="HOST", help="host[:port] (default: Docker Hub)"
    )
    parser.add_argument("-u", "--username", metavar="NAME", help="asked for if not given")
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password or token from stdin; without this, a terminal asks for it",
    )
    add_host(parser)


def run(args: argparse.Namespace, console: Console) -> int:
    """Show the login to the registry; it is kept when it is accepted."""
    username, password = read_login(args, console)
    login = {"host": args.registry, "username": username, "password": password}
    answer = console.remote(args.host).call("POST", "/registries/login", login)
    console.say(f"The login is kept in {printable(answer['kept_in'])}")
    console.write("Login Succeeded\n")
    return 0


def read_login(args: argparse.Namespace, console: Console) -> tuple[str, str]:
    """Read what was not given; a password never comes from the command line, which others see."""
    if args.password_stdin:
        if not args.username:
            raise RunnerError(Kind.USAGE, "--password-stdin needs --username too")
        password = console.stdin.read(MAX_PASSWORD_CHARACTERS).rstrip("\r\n")
        return args.username, password
    if not console.stdin.isatty():
        raise RunnerError(
            Kind.USAGE,
            "a password is asked for on a terminal only",
            hint="pipe it in, with --username NAME --password-stdin",
        )
    username = args.username or input("Username: ").strip()
    return username, getpass.getpass("Password: ")
