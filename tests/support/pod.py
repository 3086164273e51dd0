"""A pod of one container, as a kubelet runs it: a manifest's security on a root of bind mounts.

The image's file system is this machine's system folders, this Python and our package, all read
only; its variables and commands are those of the Dockerfile. Mounts, process ids and network are
the pod's own; a network plugin, seccomp and cgroups are not here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import ROOT

WHY_NOT = "needs root, and unshare, setpriv and ip: apt-get install util-linux iproute2"
PACKAGE = "/opt/package"  # where the pod has the folder of our package
PYTHON = Path(sys.prefix).resolve() / "bin" / "python"
START_S = 30.0

ASK = """
import json, sys, urllib.error, urllib.request
url, body, headers = sys.argv[1], sys.argv[2].encode() or None, json.loads(sys.argv[3])
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, answer.read().decode()]))
"""


class Image(NamedTuple):
    """What the last stage of a Dockerfile says of how its containers run."""

    variables: dict[str, str]
    user: str  # UID:GID
    entrypoint: list[str]
    command: list[str]
    health: list[str]


def read_image(dockerfile: Path) -> Image:
    """Read the instructions of ours, commands in their JSON form."""
    text = dockerfile.read_text(encoding="utf-8").replace("\\\n", " ")
    stage = text[text.rindex("\nFROM ") :]
    said = dict(re.findall(r"^([A-Z]+) +(.*)$", stage, re.MULTILINE))
    health = said["HEALTHCHECK"].partition(" CMD ")[2]
    return Image(
        dict(word.split("=", 1) for word in shlex.split(said["ENV"])),
        said["USER"],
        *(json.loads(each) for each in (said["ENTRYPOINT"], said["CMD"], health)),
    )


class Pod(NamedTuple):
    """A running pod."""

    process: subprocess.Popen[bytes]
    pid: int  # of the container's first process, as seen from here
    output: Path

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Send a request to the pod's port; return its status and text."""
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = "" if body is None else json.dumps(body)
        url = f"http://127.0.0.1:12434{path}"
        done = subprocess.run(
            [
                *("nsenter", "-t", str(self.pid), "-n"),
                *(sys.executable, "-c", ASK, url, data, json.dumps(headers)),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        status, text = json.loads(done.stdout)
        return status, text

    def run(self, user: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as ``kubectl exec`` and health checks do."""
        uid, gid = user.split(":")
        variables = Path(f"/proc/{self.pid}/environ").read_text().rstrip("\0").split("\0")
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-r", "-S", uid, "-G", gid]
        return subprocess.run(
            [*enter, "env", "-i", *variables, *_program(command)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def status(self) -> dict[str, str]:
        """Return what the kernel says of the first process (proc(5), status)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def stop(self, grace_s: float) -> int:
        """Send SIGTERM, wait as long as a kubelet would, and return the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(grace_s)


def is_possible() -> bool:
    """Whether pods can be made here."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "nsenter", "ip"))):
        return False
    probe = ["unshare", "-m", "-p", "-n", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False, timeout=30).returncode == 0


@contextmanager
def running_pod(
    template: Mapping[str, Any], image: Image, volumes: Mapping[str, Path], folder: Path
) -> Iterator[Pod]:
    """Run a template's one container; ``volumes`` says where each is, ``folder`` is for scratch."""
    (folder / "root").mkdir()
    script = folder / "pod.sh"
    script.write_text(_script(template, image, volumes, folder / "root"))
    output = folder / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            ["unshare", "-m", "-p", "-n", "--fork", "--kill-child", "sh", "-eu", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield Pod(process, _first_child(process, output), output)
    finally:
        process.kill()  # and by --kill-child all that runs in the pod
        process.wait()


def variables_of(template: Mapping[str, Any], image: Image, *, namespace: str) -> dict[str, str]:
    """Return the environment: the image's, then the manifest's, where ``$(NAME)`` is replaced."""
    [container] = template["spec"]["containers"]
    found = dict(image.variables)
    for entry in container["env"]:
        value = entry.get("value", namespace)  # the one field that ours asks for
        found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found


def _script(
    template: Mapping[str, Any], image: Image, volumes: Mapping[str, Path], root: Path
) -> str:
    """Write what happens between a fresh set of namespaces and the container's first process."""
    [container] = template["spec"]["containers"]
    security = template["spec"]["securityContext"] | container["securityContext"]
    lines = [
        "ip link set lo up",
        f"mount -t tmpfs -o mode=0755 none {root}",
        f"mkdir -p {root}/proc {root}/dev {root}/etc",
        f"mount -t proc proc {root}/proc",
        f"mount --bind /dev {root}/dev",
        f"cp -a /etc/passwd /etc/ld.so.cache {root}/etc/",
    ]
    for mount in container["volumeMounts"]:
        lines += _bind(
            volumes[mount["name"]], f"{root}{mount['mountPath']}", is_ro="readOnly" in mount
        )
    for path in map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64")):
        if path.is_symlink():
            lines.append(f"cp -a {path} {root}{path}")
        elif path.exists():
            lines += _bind(path, f"{root}{path}")
    for path in dict.fromkeys((Path(sys.base_prefix), PYTHON.parents[1])):
        if not path.is_relative_to("/usr"):
            lines += _bind(path, f"{root}{path}")
    lines += _bind(ROOT / "runner", f"{root}{PACKAGE}/runner")
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    lines.append(f"mount -o remount,ro {root}")
    variables = variables_of(template, image, namespace="default") | {"PYTHONPATH": PACKAGE}
    lines.append(
        shlex.join(
            ["exec", shutil.which("chroot") or "", str(root), "/usr/bin/env", "-i"]
            + [f"{name}={value}" for name, value in variables.items()]
            + [
                shutil.which("setpriv") or "",
                f"--reuid={security['runAsUser']}",
                f"--regid={security['runAsGroup']}",
                f"--groups={security['fsGroup']}",
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--no-new-privs",
                *_program([*image.entrypoint, *image.command]),
            ]
        )
    )
    return "\n".join(lines) + "\n"


def _bind(path: Path, place: str, *, is_ro: bool = True) -> list[str]:
    lines = [f"mkdir -p {place}", f"mount --bind {path} {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if is_ro else lines


def _program(command: Sequence[str]) -> list[str]:
    """Return how the image's ``runner`` is called where it is not installed."""
    name, *arguments = command
    assert name == "runner"
    return [str(PYTHON), "-P", "-m", name, *arguments]


def _first_child(process: subprocess.Popen[bytes], output: Path) -> int:
    """Wait for the pod's first process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.02)
    raise AssertionError(f"the pod did not start: {output.read_text()}")
