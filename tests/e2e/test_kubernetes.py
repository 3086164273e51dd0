"""The Kubernetes manifest and the image's recipe: valid, of one mind, and enough for the server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import MODEL, until
from tests.support.pod import WHY_NOT, Image, Pod, is_possible, read_image, running_pod

MANIFEST = ROOT / "examples" / "kubernetes" / "runner.yaml"
DOCKERFILE = ROOT / "examples" / "container" / "Dockerfile"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
ALL, INFER = {"Authorization": "Bearer all-of-it"}, {"Authorization": "Bearer only-infer"}


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """The manifest's objects by kind."""
    yaml = pytest.importorskip("yaml", reason="make test installs it, or: pip install pyyaml")
    documents = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    return {each["kind"]: each for each in documents}


@pytest.fixture(scope="module")
def template(parts: dict[str, Any]) -> Any:
    return parts["Deployment"]["spec"]["template"]


@pytest.fixture(scope="module")
def image() -> Image:
    return read_image(DOCKERFILE)


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_the_manifest_is_valid_to_the_letter(parts: dict[str, Any], version: str) -> None:
    reason = "make test installs it, or: pip install kubernetes-validate"
    validator = pytest.importorskip("kubernetes_validate", reason=reason)
    assert set(parts) == {"PersistentVolumeClaim", "Deployment", "Service"}
    for part in parts.values():
        validator.validate(part, version, strict=True)


@pytest.mark.skipif(
    shutil.which("kubeconform") is None,
    reason="kubeconform is not installed: https://github.com/yannh/kubeconform/releases",
)
def test_kubeconform_agrees() -> None:
    subprocess.run(["kubeconform", "-strict", str(MANIFEST)], check=True, timeout=60)


def test_the_manifest_and_the_image_agree(
    parts: dict[str, Any], template: Any, image: Image
) -> None:
    security, [container] = template["spec"]["securityContext"], template["spec"]["containers"]
    assert image.user == f"{security['runAsUser']}:{security['runAsGroup']}"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {image.variables["HOME"], image.variables["XDG_RUNTIME_DIR"], "/etc/runner"}
    names = {each["name"] for each in template["spec"]["volumes"]}
    assert names == {mount["name"] for mount in container["volumeMounts"]}
    labels = template["metadata"]["labels"]
    assert parts["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert parts["Service"]["spec"]["selector"] == labels


def test_all_that_the_image_copies_is_here_and_let_into_its_context() -> None:
    words = [line.split() for line in DOCKERFILE.read_text().splitlines()]
    copied = [path for word, *paths in filter(None, words) if word == "COPY" for path in paths[:-1]]
    assert all((ROOT / path).exists() for path in copied)
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert sorted(copied) == sorted(line[1:] for line in ignore if line.startswith("!"))


# ---- the pod ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pod(
    _engine: None,
    template: Any,
    image: Image,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pod]:
    if not is_possible():
        pytest.skip(WHY_NOT)
    folder = tmp_path_factory.mktemp("pod")
    group = template["spec"]["securityContext"]["fsGroup"]
    volumes = {name: folder / name for name in ("data", "tmp", "keys")}
    for path in volumes.values():  # as volumes are with an fsGroup
        path.mkdir()
        os.chown(path, 0, group)
        path.chmod(0o2770)
    keys = volumes["keys"] / "keys"
    keys.write_text("all-of-it\nonly-infer:infer\n")
    os.chown(keys, 0, group)
    keys.chmod(0o440)
    with running_pod(template, image, volumes, folder) as started:
        [container] = template["spec"]["containers"]
        path = container["readinessProbe"]["httpGet"]["path"]
        until(lambda: is_listening(started, path), timeout_s=30)
        yield started


def is_listening(pod: Pod, path: str) -> bool:
    """Whether the probe passes; the pod must live meanwhile."""
    assert pod.process.poll() is None, pod.output.read_text()
    try:
        return pod.ask(path)[0] == 200
    except subprocess.CalledProcessError:
        return False  # nobody listens yet


def test_probes_pass_by_the_pods_address_and_without_a_key(pod: Pod, template: Any) -> None:
    [container] = template["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert pod.ask(container[probe]["httpGet"]["path"], Host="10.1.2.3:12434")[0] == 200


def test_the_server_is_nobody_who_may_do_nothing_else(pod: Pod) -> None:
    status = pod.status()
    assert status["Uid"].split() == ["65532"] * 4
    assert status["NSpid"].split()[-1] == "1"
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")


def test_an_app_of_the_cluster_chats_with_a_key_by_the_services_name(pod: Pod) -> None:
    path = "/v1/chat/completions"
    for name in ("runner", "runner.default.svc.cluster.local"):
        status, text = pod.ask(path, QUESTION, Host=f"{name}:12434", **INFER)
        assert (status, json.loads(text)["usage"]["completion_tokens"]) == (200, 4)
    assert pod.ask(path, QUESTION, Host="runner:12434")[0] == 401
    assert pod.ask(path, QUESTION, Host="attacker.example:12434", **INFER)[0] == 403


def test_metrics_are_read_with_a_key_that_may_only_infer(pod: Pod) -> None:
    status, text = pod.ask("/metrics", Host="10.1.2.3:12434", **INFER)
    assert status == 200
    assert "# TYPE runner_" in text
    assert pod.ask("/engines/unload", {"all": True}, **INFER)[0] == 403


def test_commands_within_the_pod_need_no_key(pod: Pod, image: Image) -> None:
    assert pod.run(image.user, *image.health).returncode == 0
    listed = pod.run(image.user, "runner", "ps", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")


def test_a_running_answer_is_finished_and_every_line_of_the_log_is_json(
    pod: Pod, template: Any
) -> None:
    question = QUESTION | {"max_tokens": 200, "ignore_eos": True}
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(pod.ask("/v1/chat/completions", question, **ALL))
    )
    asking.start()
    until(lambda: '"in_use"' in pod.ask("/engines/ps", **ALL)[1])
    assert pod.stop(template["spec"]["terminationGracePeriodSeconds"]) == 0
    asking.join()
    [(status, text)] = answers
    assert (status, json.loads(text)["usage"]["completion_tokens"]) == (200, 200)
    records = [json.loads(line) for line in pod.output.read_text().splitlines()]
    assert records[0]["level"] == "info"
    assert any(each.get("target") == "/v1/chat/completions" for each in records)
