"""Pods from the names that the kubelet gives to log files: no API, no rights but to list two folders, no log read.

``/var/log/pods/NAMESPACE_POD_UID/`` is made for every pod. ``/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`` is a
link to ``.../NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`` of every container that was started, by its full id.
Source: ``pkg/kubelet/kuberuntime/{helpers,legacy}.go``. No other of these names holds an underscore.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from exporter.errors import MappingError
from exporter.readings import ContainerIdentity, PodIdentity, PodList

_MOST_NAMES = 100_000
_POD_FOLDER = re.compile(r"(?P<namespace>[^_/]+)_(?P<pod>[^_/]+)_(?P<uid>[^_/]+)")
_LINK = re.compile(r"(?P<pod>[^_]+)_(?P<namespace>[^_]+)_(?P<container>[^_]+)-(?P<id>[0-9a-f]{64})\.log")
_TARGET = re.compile(r"(?:.*/)?[^_/]+_[^_/]+_(?P<uid>[^_/]+)/[^/]+/(?P<restarts>[0-9]{1,9})\.log")


class LogDirSource:
    """What names can tell: who a pod and its containers are, not what they asked for nor who owns them."""

    name = "logs"

    def __init__(self, path_logs: str) -> None:
        """``path_logs`` is ``/var/log``, wherever it is mounted."""
        self._pods_path = os.path.join(path_logs, "pods")
        self._containers_path = os.path.join(path_logs, "containers")

    async def pods(self) -> PodList:
        """Raises :class:`MappingError`: ``not_found``, ``unreadable`` or ``too_large``."""
        return await asyncio.to_thread(self._read)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _read(self) -> PodList:
        folders = _names(self._pods_path)
        links = [(name, _target(self._containers_path, name)) for name in _names(self._containers_path)]
        return parse_log_names(folders, links)


class _Instance(NamedTuple):
    restarts: int
    container_id: str


def parse_log_names(folders: list[str], links: list[tuple[str, str]]) -> PodList:
    """The pods behind names below ``pods``, and behind names below ``containers`` with what they link to.

    Pure. A name of another form is counted as ``malformed_name``.
    """
    problems: Counter[str] = Counter()
    instances: defaultdict[str, defaultdict[str, list[_Instance]]] = defaultdict(lambda: defaultdict(list))
    for name, target in links:
        link, where = _LINK.fullmatch(name), _TARGET.fullmatch(target)
        if link is None or where is None:
            problems["malformed_name"] += 1
        else:
            instances[where["uid"]][link["container"]].append(_Instance(int(where["restarts"]), link["id"]))
    pods: dict[str, PodIdentity] = {}
    for folder in folders:
        found = _POD_FOLDER.fullmatch(folder)
        if found is None:
            problems["malformed_name"] += 1
            continue
        pods[found["uid"]] = PodIdentity(
            uid=found["uid"],
            namespace=found["namespace"],
            name=found["pod"],
            qos_class="",
            workload_kind="",
            workload="",
            containers=tuple(_containers(instances[found["uid"]])),
        )
    return PodList(pods=pods, problems=dict(problems))


def _containers(by_name: dict[str, list[_Instance]]) -> Iterator[ContainerIdentity]:
    for name, instances in by_name.items():
        *earlier, latest = sorted(instances)
        yield ContainerIdentity(
            container_id=latest.container_id,
            name=name,
            container_type="container",
            runtime="",
            running=True,  # as far as its name tells; a cgroup under this id settles it
            request_cores=None,
            limit_cores=None,
            restart_count=latest.restarts,
            previous_container_ids=tuple(instance.container_id for instance in reversed(earlier)),
        )


def _names(path: str) -> list[str]:
    try:
        names = os.listdir(path)
    except OSError as error:
        reason = "not_found" if error.errno == errno.ENOENT else "unreadable"
        raise MappingError(f"logs {path}: {error.strerror}", reason=reason) from error
    if len(names) > _MOST_NAMES:
        raise MappingError(f"logs {path}: more than {_MOST_NAMES} entries", reason="too_large")
    return names


def _target(folder: str, name: str) -> str:
    try:
        return os.readlink(os.path.join(folder, name))
    except OSError:
        return ""  # gone meanwhile, or no link: a name that says too little
