"""Runs a rendered pod's container as a kubelet and a container runtime would, as far as one process can.

The kubelet's part: arguments with ``$(NAME)`` expanded, the downward API, the service account's token, Secrets as
files. The runtime's part (``enter.py``): a read-only root that holds the image and the pod's mounts and nothing else,
the pod's user id, no capabilities, no new privileges. It needs root for the mounts, and gives it up before it starts
the process; another user gets a user namespace, in which his own id must do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.chart import dockerfile
from tests.chart.charting import Json, only
from tests.conftest import unavailable
from tests.support.process import ROOT, STOP_SECONDS, Exporter

TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_NAMESPACE: Final = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
    "--mount",
    "--propagation",
    "private",
)
_REFERENCE: Final = re.compile(r"\$(\$?)\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Node:
    """What the cluster gives a pod on this node."""

    fields: Mapping[str, str]
    """Of the downward API, by path: ``status.hostIP``."""
    folders: Mapping[str, str]
    """Where the node's host paths are here."""
    token: Mapping[str, bytes]
    """Files of the service account's volume."""
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    """Secrets that nothing rendered holds."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every container of the cluster is told, such as KUBERNETES_SERVICE_HOST."""


@dataclass(frozen=True)
class Image:
    """What an image brings along."""

    folders: Mapping[str, str]
    """Where each folder of it comes from, by its path in the container."""
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]


def this_checkout() -> Image:
    """This interpreter and this checkout, in place of an image's."""
    folders = {*system_folders(), sys.base_prefix, sys.prefix, str(ROOT / "exporter")}
    tops = [one for one in folders if not any(one.startswith(f"{other}/") for other in folders)]
    environment = {**dockerfile.environment(), "PYTHONPATH": str(ROOT)}
    return Image({top: top for top in tops}, (sys.executable, "-m", "exporter"), environment)


def unpacked(root: Path) -> Image:
    """The image whose root file system is at ``root``, as ``buildah mount`` shows one."""
    # Not what mounts lie in: a read-only folder has no place for them, and an image's are empty.
    names = [path for path in root.iterdir() if path.name in {"bin", "etc", "lib", "lib64", "opt", "sbin", "usr"}]
    folders = {f"/{path.name}": str(path) for path in names}
    return Image(folders, ("/usr/local/bin/throttle-exporter",), dockerfile.environment())


def system_folders() -> tuple[str, ...]:
    """Programs and libraries of this machine."""
    return tuple(folder for folder in _SYSTEM if os.path.lexists(folder))


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """``$(NAME)`` as a kubelet expands it: what is not set stays as it is, ``$$(NAME)`` is the text itself."""

    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        return environment.get(match[2], match[0])

    return _REFERENCE.sub(value_of, text)


def environment_of(container: Json, node: Node) -> dict[str, str]:
    """The container's variables; only plain ones and those of the downward API."""
    found = dict(node.environment)
    for entry in container.get("env", []):
        found[entry["name"]] = (
            entry["value"] if "value" in entry else node.fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        )
    return found


def volumes_of(found: Sequence[Json], node: Node, folder: Path) -> dict[str, str]:
    """Where each mount of the DaemonSet's container comes from, by its path in there."""
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    secrets = dict(node.secrets)
    for each in found:
        if each["kind"] == "Secret":
            secrets[each["metadata"]["name"]] = {key: text.encode() for key, text in each["stringData"].items()}
    sources: dict[str, str] = {}
    for volume in spec["volumes"]:
        if "hostPath" in volume:
            sources[volume["name"]] = node.folders[volume["hostPath"]["path"]]
        else:
            names = [source["secret"]["name"] for source in volume["projected"]["sources"]]
            sources[volume["name"]] = _written(folder / volume["name"], [secrets[name] for name in names])
    mounts = {mount["mountPath"]: sources[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}
    if spec["automountServiceAccountToken"]:
        mounts[TOKEN_FOLDER] = _written(folder / "token", [node.token])
    return mounts


def _written(folder: Path, parts: Sequence[Mapping[str, bytes]]) -> str:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for part in parts:
        for name, content in part.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o444)
    return str(folder)


@contextmanager
def running(found: Sequence[Json], node: Node, folder: Path, image: Image) -> Iterator[Exporter]:
    """The process of the rendered DaemonSet, once it listens; ``folder`` is scratch space."""
    [container] = only(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    environment = environment_of(container, node)
    command = executing(found, node, folder, image, *(expanded(one, environment) for one in container["args"]))
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        exporter = Exporter(process)
        reader = threading.Thread(target=exporter.read_log, args=(process.stderr,), daemon=True)
        reader.start()
        try:
            exporter.wait_listening()
            yield exporter
        finally:
            try:
                exporter.stop()
            finally:
                reader.join(STOP_SECONDS)


def executing(found: Sequence[Json], node: Node, folder: Path, image: Image, *arguments: str) -> list[str]:
    """The command that does what ``kubectl exec`` does: the image's program in the pod, with these arguments."""
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    environment = environment_of(spec["containers"][0], node)
    volumes = volumes_of(found, node, folder / "volumes")
    return entering(image, arguments, spec["securityContext"], folder, environment, volumes)


def entering(
    image: Image,
    arguments: Sequence[str],
    security: Mapping[str, int],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    volumes: Mapping[str, str] | None = None,
) -> list[str]:
    """The command that becomes the image's process with these arguments."""
    if not _may_mount():
        unavailable("mounts as in a pod need root, or user namespaces for everybody")
    root = folder / "root"
    root.mkdir(parents=True)
    order: dict[str, Any] = {
        "root": str(root),
        "image": dict(image.folders),
        "volumes": dict(volumes or {}),
        "user": security["runAsUser"],
        "group": security["runAsGroup"],
        "groups": [security["fsGroup"]] if "fsGroup" in security else [],
        "argv": [*image.entrypoint, *arguments],
        "env": {**image.environment, **(environment or {})},
    }
    return [*_NAMESPACE, sys.executable, str(Path(__file__).with_name("enter.py")), json.dumps(order)]


@cache
def _may_mount() -> bool:
    return subprocess.run([*_NAMESPACE, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0
