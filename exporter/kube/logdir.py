"""Pods from the names that the kubelet gives to log files: no API, no rights but to list two folders, no log read.

``/var/log/pods/NAMESPACE_POD_UID/`` is made for every pod. ``/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`` is a
link to ``.../NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`` of every started container; its name is cut to 255 characters,
maybe within the id. No other part holds an underscore. Source: ``pkg/kubelet/kuberuntime/{helpers,legacy}.go``.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from exporter.errors import MappingError
from exporter.identities import ContainerIdentity, PodIdentity, PodList
from exporter.kube.source import file_reason
from exporter.threads import TimedCall

_MAX_NAMES = 100_000
# Surrogates stand for bytes that are no UTF-8: no page could show them, and two such names would look alike there.
_NAME = r"[^_/\ud800-\udfff]+"
_POD_FOLDER = re.compile(rf"(?P<namespace>{_NAME})_(?P<pod>{_NAME})_(?P<uid>{_NAME})")
_LINK = re.compile(rf"(?P<start>{_NAME}_{_NAME}_(?P<container>{_NAME})-)(?P<id>[0-9a-f]{{8,64}})\.log")
_TARGET = re.compile(rf"(?:.*/)?{_POD_FOLDER.pattern}/(?P<container>{_NAME})/(?P<restarts>[0-9]{{1,9}})\.log")
_ID_LENGTH, _CUT_LENGTH = 64, 255


class LogDirSource:
    """Names of pods and containers with their ids and restarts; neither spec nor workload."""

    name = "logs"

    def __init__(
        self, path_logs: str, *, timeout_seconds: float = 5.0, list_names: Callable[[str], list[str]] = os.listdir
    ) -> None:
        self._path, self._list_names = path_logs, list_names
        self._call = TimedCall(self._read, timeout_seconds)  # a directory on a file server hangs with it

    async def pods(self) -> PodList:
        """Raises :class:`MappingError`: ``not_found``, ``unreadable``, ``too_large`` or ``timeout``."""
        try:
            return await self._call.awaited()
        except TimeoutError as error:
            late = f"logs {self._path}: not read within {self._call.seconds:g} s"
            raise MappingError(late, reason="timeout") from error

    def _read(self) -> PodList:
        containers = os.path.join(self._path, "containers")
        folders = self._names(os.path.join(self._path, "pods"))
        return parse_log_names(folders, [(name, _target(containers, name)) for name in self._names(containers)])

    def _names(self, path: str) -> list[str]:
        try:
            names = self._list_names(path)
        except OSError as error:
            raise MappingError(f"logs {path}: {error.strerror}", reason=file_reason(error)) from error
        if len(names) > _MAX_NAMES:
            raise MappingError(f"logs {path}: more than {_MAX_NAMES} entries", reason="too_large")
        return names


def parse_log_names(folders: Sequence[str], links: Sequence[tuple[str, str]]) -> PodList:
    """Return the pods of names below ``pods``, and of names below ``containers`` with their link targets."""
    problems = Counter[str]()
    instances: defaultdict[str, defaultdict[str, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
    for name, target in links:
        link, where = _LINK.fullmatch(name), _TARGET.fullmatch(target)
        if link is None or where is None or not _is_whole(name, link, where):
            problems["malformed_name"] += 1
        else:
            instances[where["uid"]][where["container"]].append((int(where["restarts"]), link["id"]))
    found = [match for folder in folders if (match := _POD_FOLDER.fullmatch(folder))]
    problems["malformed_name"] += len(folders) - len(found)
    pods: dict[str, PodIdentity] = {}
    for namespace, name, uid in (match.groups() for match in found):
        containers = tuple(_containers(instances[uid]))
        pods[uid] = PodIdentity(uid, namespace, name, spec=None, workload_kind="", workload="", containers=containers)
    return PodList(pods=pods, problems=dict(+problems))


def _is_whole(name: str, link: re.Match[str], target: re.Match[str]) -> bool:
    """Whether a link's name has the whole id, or is cut within it: all before the id is as the target has it."""
    if len(link["id"]) == _ID_LENGTH:
        return link["container"] == target["container"]
    return len(name) == _CUT_LENGTH and link["start"] == "{pod}_{namespace}_{container}-".format(**target.groupdict())


def _containers(by_name: Mapping[str, list[tuple[int, str]]]) -> Iterator[ContainerIdentity]:
    for name, instances in by_name.items():
        *earlier, (restarts, container_id) = sorted(instances)
        yield ContainerIdentity(
            container_id=container_id,
            name=name,
            container_type="container",
            runtime="",
            running=True,  # as far as its name tells; a cgroup under this id settles it
            spec=None,
            restart_count=restarts,
            previous_container_ids=tuple(past for _, past in reversed(earlier)),
        )


def _target(folder: str, name: str) -> str:
    try:
        return os.readlink(os.path.join(folder, name))
    except OSError:
        return ""  # gone meanwhile, or no link: a name that says too little
