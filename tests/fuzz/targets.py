"""One function for each parser of foreign input: takes any bytes, and raises only what is a bug.

Each knows which of our errors its parser may raise, and what must be true of what it returns. :mod:`tests.fuzz.fuzz`
feeds them from a coverage-guided fuzzer, ``test_corpus`` with what it found, ``test_time`` with long input.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import Final, TypeVar

from exporter import values
from exporter.cgroupfs import names, parse
from exporter.cpulist import MAX_CPUS, cpu_list, format_cpu_list
from exporter.errors import ConfigError, ExporterError, MappingError, ParseError
from exporter.identities import KubeletConfig, PodList
from exporter.kube.kubelet import parse_configz
from exporter.kube.logdir import parse_log_names
from exporter.kube.podlist import parse_cores, parse_pod_list
from exporter.metrics.exposition import label_block
from exporter.model import CpuManagerState
from exporter.node.cpu_time import CpuReadings, Jiffies, cpu_times, parse_proc_stat
from exporter.node.cpumanager import parse_cpu_manager_state
from exporter.node.machine import cfs_quota_bug
from exporter.settings import OPTIONS
from exporter.settings_sources import load, parse_file_options
from exporter.web import config as web_config
from tests.kube.fake_apiserver import receive, without_server
from tests.support.reasons import POD_REASONS

T = TypeVar("T")
Target = Callable[[bytes], None]
PATH: Final = "fuzzed"
LARGEST: Final = 2**64 - 1
PARSING: Final = ("malformed", "invalid", "too_large")
"""Reasons of a parser's errors."""


def never_below_zero(numbers: Iterable[float | None]) -> None:
    for number in numbers:
        assert number is None or 0 <= number <= LARGEST, number
        assert number is None or math.isfinite(number)


def ours(error: ExporterError, reasons: Container[str]) -> None:
    """Counted under a known reason, told in one line of a log, whatever was parsed."""
    text = str(error)
    assert error.reason in reasons
    assert "\n" not in text
    assert len(text) < 1000


# ---- the kernel's files ----


def parser(
    read: Callable[[bytes], T],
    check: Callable[[T], object],
    error: type[ExporterError] = ParseError,
    reasons: Container[str] = PARSING,
) -> Target:
    """What holds of all that ``read`` returns, or an error of ours."""

    def target(data: bytes) -> None:
        try:
            found = read(data)
        except error as problem:
            ours(problem, reasons)
        else:
            check(found)

    return target


def kernel_file(read: Callable[[bytes, str], T], numbers: Callable[[T], Iterable[float | None]]) -> Target:
    """Numbers or a ParseError that names the file."""
    return parser(lambda data: read(data, PATH), lambda found: never_below_zero(numbers(found)))


def _cpus(found: frozenset[int]) -> None:
    assert len(found) <= MAX_CPUS
    assert cpu_list(format_cpu_list(found), PATH) == found


def _proc_stat(found: dict[int, Jiffies]) -> None:
    for jiffies in found.values():
        never_below_zero(jiffies)
    for spent in cpu_times(CpuReadings(found, {}), CpuReadings(found, {}), 1.0).values():
        assert spent.busy_seconds == spent.steal_seconds == spent.irq_seconds == 0


def _path(data: bytes) -> None:
    path = os.fsdecode(data)
    ref = names.decode(path)
    if ref is None:
        return
    inside = path.strip("/")
    assert inside == ref.path or inside.startswith(ref.path)
    assert ref.path.startswith(ref.pod_path)
    assert ref.container_id is None or len(ref.container_id) == 64
    assert names.decode(ref.path) == ref


def _release(data: bytes) -> None:
    assert cfs_quota_bug(data.decode("utf-8", "replace")) in {"affected", "fixed", "unknown"}


# ---- Kubernetes ----


def servable(pods: PodList) -> None:
    """Whatever the list says can stand on a page, and is counted by known names."""
    assert set(pods.problems) <= POD_REASONS
    for pod in pods.pods.values():
        label_block(("namespace", "pod", "workload"), (pod.namespace, pod.name, pod.workload)).encode()
        assert pod.alert_threshold_ratio is None or 0 < pod.alert_threshold_ratio <= math.inf
        if pod.spec is not None:
            never_below_zero((pod.spec.request_cores, pod.spec.limit_cores))
        for one in pod.containers:
            label_block(("container", "id", "runtime"), (one.name, one.container_id, one.runtime)).encode()
            if one.spec is not None:
                never_below_zero((one.spec.request_cores, one.spec.limit_cores, one.spec.allocated_limit_cores))


def _watch(data: bytes) -> None:
    """The lines of a watch, in pieces of 64 bytes, and the copy they lead to."""
    source = without_server()
    try:
        asyncio.run(receive(source, (data[at : at + 64] for at in range(0, len(data), 64))))
    except MappingError as error:
        ours(error, PARSING)
    assert isinstance(source.version, str)
    servable(source.store.snapshot())


def _configz(found: KubeletConfig) -> None:
    for seconds in (found.cpu_cfs_quota_period_seconds, found.cpu_manager_reconcile_seconds):
        assert seconds is None or math.isfinite(seconds)


def _annotations(data: bytes) -> None:
    """Two annotations of a pod, and its labels."""
    text = data.decode("utf-8", "surrogateescape")
    first, _, second = text.partition("\n")
    annotations = {"kube-throttle-exporter/alert-threshold": first, "kube-throttle-exporter/alert": second}
    annotations |= {"kubernetes.io/config.hash": second, "kubernetes.io/config.source": first}
    metadata = {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations, "labels": {first: second}}
    owner = [{"kind": first, "name": second, "controller": True}]
    body = {"kind": "PodList", "items": [{"metadata": metadata | {"ownerReferences": owner}, "spec": {}}]}
    servable(parse_pod_list(json.dumps(body).encode(), PATH))


def _checkpoint(found: CpuManagerState) -> None:
    assert found.policy
    assert all(len(cpus) <= MAX_CPUS for cpus in (found.default_cpus, *found.entries.values()))


def _log_names(data: bytes) -> None:
    """Folders, then links with their targets, a name a line."""
    folders, _, links = os.fsdecode(data).partition("\n\n")
    pairs = [(name, target) for name, _, target in (line.partition(" ") for line in links.split("\n"))]
    servable(parse_log_names(folders.split("\n"), pairs))


def _quantity(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        never_below_zero((parse_cores(text),))


# ---- what the user writes ----


def _duration(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        seconds = values.parse_duration(text)
        assert 0 <= seconds < math.inf
        # Above some centuries a float has no milliseconds left; no option takes that much.
        assert seconds > 1e10 or values.parse_duration(values.format_duration(seconds)) == round(seconds, 3)


def _option(data: bytes) -> None:
    """One text as the value of every kind of option that opens no file."""
    text = data.decode("utf-8", "surrogateescape")
    for option in OPTIONS:
        if option.kind.parse != values.parse_ca_file:
            with suppress(ValueError):
                option.kind.parse(text)
    with suppress(ConfigError):
        load({"node.name": text}, {"NODE_IP": "fd00::1", "NODE_NAME": text})


def _config_file(data: bytes) -> None:
    with suppress(ConfigError):
        list(parse_file_options(data, PATH))
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(dir=memory) as file:
        file.write(data)
        file.flush()
        parser(lambda _: load({"config.file": file.name}, {}), bool, ConfigError)(data)


TARGETS: Final[dict[str, Target]] = {
    "cpu_stat_v1": kernel_file(parse.cpu_stat_v1, tuple),
    "cpu_stat_v2": kernel_file(parse.cpu_stat_v2, tuple),
    "cpu_stat_local": kernel_file(parse.cpu_stat_local, lambda found: (found,)),
    "cpuacct_stat": kernel_file(parse.cpuacct_stat, tuple),
    "number": kernel_file(parse.number, lambda found: (found,)),
    "cpu_max": kernel_file(parse.cpu_max, lambda found: (max(found[0], 0), found[1])),
    "cfs_quota": kernel_file(parse.cfs_quota, lambda found: (max(found, 0),)),
    "cfs_period": kernel_file(parse.cfs_period, lambda found: (found,)),
    "pressure": kernel_file(parse.pressure, tuple),
    "cpu_list": parser(lambda data: cpu_list(data, PATH), _cpus),
    "proc_stat": parser(lambda data: parse_proc_stat(data, PATH), _proc_stat),
    "path": _path,
    "release": _release,
    "pod_list": parser(lambda data: parse_pod_list(data, PATH), servable, MappingError, POD_REASONS),
    "watch": _watch,
    "configz": parser(parse_configz, _configz, MappingError),
    "annotations": _annotations,
    "checkpoint": parser(lambda data: parse_cpu_manager_state(data, PATH), _checkpoint),
    "log_names": _log_names,
    "quantity": _quantity,
    "duration": _duration,
    "option": _option,
    "config_file": _config_file,
    "web_config": parser(lambda data: web_config.parse(data, PATH), bool, ConfigError),
}
