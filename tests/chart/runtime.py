"""Runs a rendered pod's container as a kubelet and a container runtime would, as far as one process can.

The kubelet's part: arguments with ``$(NAME)`` expanded, the downward API, the service account's token. The runtime's
part (``enter.py``): a read-only root that holds the image and the pod's mounts and nothing else, the pod's user id, no
capabilities, no new privileges. It needs root for the mounts, and gives it up before it starts the process; another
user gets a user namespace, in which his own id must do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart import dockerfile
from tests.chart.charting import Json, only
from tests.conftest import unavailable
from tests.support.process import ROOT, Exporter, listening

TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_USER: Final = () if os.geteuid() == 0 else ("--user", "--map-root-user")
_NAMESPACE: Final = ("unshare", *_USER, "--mount", "--propagation", "private")
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
    environment: Mapping[str, str]
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


def system_folders() -> tuple[str, ...]:
    """Programs and libraries of this machine."""
    return tuple(folder for folder in _SYSTEM if os.path.lexists(folder))


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """``$(NAME)`` as a kubelet expands it: what is not set stays as it is, ``$$(NAME)`` is the text itself."""

    return _REFERENCE.sub(lambda found: found[0][1:] if found[1] else environment.get(found[2], found[0]), text)


def environment_of(container: Json, node: Node) -> dict[str, str]:
    """The container's variables; only plain ones and those of the downward API."""
    found = dict(node.environment)
    for entry in container.get("env", []):
        found[entry["name"]] = (
            entry["value"] if "value" in entry else node.fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        )
    return found


def volumes_of(spec: Json, node: Node, folder: Path) -> dict[str, str]:
    """Where each mount of the pod's container comes from, by its path in there; only host paths and the token."""
    sources = {volume["name"]: node.folders[volume["hostPath"]["path"]] for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: sources[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}
    if spec["automountServiceAccountToken"]:
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        for name, content in node.token.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o444)
        mounts[TOKEN_FOLDER] = str(folder)
    return mounts


def running(found: Sequence[Json], node: Node, folder: Path, image: Image) -> AbstractContextManager[Exporter]:
    """The process of the rendered DaemonSet, once it listens; ``folder`` is scratch space."""
    [container] = only(found, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    environment = environment_of(container, node)
    return listening(executing(found, node, folder, image, *(expanded(one, environment) for one in container["args"])))


def executing(found: Sequence[Json], node: Node, folder: Path, image: Image, *arguments: str) -> list[str]:
    """The command that does what ``kubectl exec`` does: the image's program in the pod, with these arguments."""
    spec = only(found, "DaemonSet")["spec"]["template"]["spec"]
    environment, volumes = environment_of(spec["containers"][0], node), volumes_of(spec, node, folder / "token")
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
    if subprocess.run([*_NAMESPACE, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
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
