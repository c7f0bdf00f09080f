"""Every option of the exporter: the one table behind ``--help``, the environment, the config file and the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any, Final

from exporter import values
from exporter.values import Kind, ListenAddress, choice, duration

PREFIX: Final = "THROTTLE_EXPORTER_"
MAX_READINGS: Final = 3600  # of one cgroup in a window: bounds the memory that two options together can ask for
_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_URL_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_RESERVED_PATHS: Final = re.compile(r"/(?:healthz|readyz|(?:api|containers?)(?:/.*)?)")
_POD_SOURCES: Final = ("kubelet", "apiserver", "logs")


@dataclass(frozen=True, slots=True)
class Option:
    """One option as users meet it."""

    field: str  # the attribute of Settings
    kind: Kind
    help: str  # a sentence without its full stop
    fallback: str  # the default as a user would write it, empty for none
    reference: str  # the default where the environment has what its $(NAME) refers to
    name: str  # where the flag is not spelled as the field

    @property
    def flag(self) -> str:
        """``sample.interval``: without dashes in front; also the key in the config file."""
        return self.name or self.field.replace("_", ".", 1).replace("_", "-")

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return PREFIX + self.field.upper()

    @property
    def default(self) -> str:
        """The default as shown to users."""
        return self.reference or self.fallback

    @property
    def meaning(self) -> str:
        """The help as whole sentences, with the limits and the default without the referenced variable."""
        limits = f" {self.kind.limits[0].upper()}{self.kind.limits[1:]}." if self.kind.limits else ""
        fallback = f" Without the variable {self.fallback or 'none'}." if self.reference else ""
        return f"{self.help}.{limits}{fallback}"

    @property
    def is_switch(self) -> bool:
        """Whether the option is given without a value, ``--NAME`` or ``--no-NAME``."""
        return self.kind.unit == "switch"


def format_value(value: object) -> str:
    """Return a setting's value as a user would write it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return values.format_duration(value)
        case tuple() if not isinstance(value, ListenAddress):
            return ",".join(value) or "none"
        case _:
            return str(value)


def _parse_path(text: str) -> str:
    if not text:
        raise ValueError("must be a path")
    return text


def _parse_telemetry_path(text: str) -> str:
    if not _URL_PATH.fullmatch(text) or _RESERVED_PATHS.fullmatch(text):
        raise ValueError("must be a path such as /metrics, and none of the exporter's other pages")
    return text


def _parse_pod_sources(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if names == ("none",):
        return ()
    known = all(name in _POD_SOURCES or (name.startswith("file:") and name != "file:") for name in names)
    if not known or len(set(names)) != len(names):
        raise ValueError(f"must be none, or a list of {', '.join(_POD_SOURCES)} and file:PATH, each at most once")
    return names


_SWITCH: Final = Kind("switch", "", values.parse_switch)
_DIR: Final = Kind("path", "DIR", _parse_path)
_PATH: Final = Kind("path", "PATH", _parse_path)
_FILE: Final = Kind("path", "FILE", values.parse_file)
_CA_FILE: Final = Kind("path", "FILE", values.parse_ca_file)
_TIME: Final = Kind("duration", "TIME", values.parse_duration)
_ADDRESS: Final = Kind("address", "HOST:PORT", values.parse_listen_address)
_URL: Final = Kind("URL", "URL", values.parse_url)
_URL_OR_NONE: Final = Kind("URL", "URL", lambda text: values.parse_url(text) if text else "")
_TEXT: Final = Kind("text", "NAME", str)
_LEVEL: Final = choice("LEVEL", "debug", "info", "warn", "error")


def _row(kind: Kind, default: object, text: str, *, flag: str = "", reference: str = "") -> Any:
    return field(default=default, metadata={"kind": kind, "help": text, "reference": reference, "name": flag})


def _switch(text: str, *, on: bool = False, flag: str = "") -> Any:
    return _row(_SWITCH, on, text, flag=flag)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user chose: durations in seconds, an unset file ``None``. A default file need not exist."""

    path_cgroup: str = _row(_DIR, "/sys/fs/cgroup", "Root of the cgroup hierarchy")
    path_proc: str = _row(_DIR, "/proc", "Mount point of procfs")
    path_sys: str = _row(_DIR, "/sys", "Mount point of sysfs")
    path_logs: str = _row(
        _DIR, "/var/log", "The node's log directory; only names in it are read, by the pod source logs"
    )
    path_cpu_manager_state: str = _row(
        _PATH,
        "/var/lib/kubelet/cpu_manager_state",
        "The kubelet's CPU manager checkpoint; read where it is there and readable",
    )
    web_listen_address: ListenAddress = _row(  # noqa: RUF009 - a NamedTuple does not change
        _ADDRESS, ListenAddress("", 9843), "Where to serve; without a host on all interfaces, port 0 for a free one"
    )
    web_telemetry_path: str = _row(
        Kind("URL path", "PATH", _parse_telemetry_path), "/metrics", "Path of the metrics page"
    )
    web_config_file: str | None = _row(
        _FILE,
        None,
        "TLS and basic authentication, in the format of Prometheus exporter-toolkit",
        flag="web.config.file",
    )
    web_cadvisor_names: bool = _switch("Also serve the throttling metrics under cAdvisor's names and labels")
    web_grafana_url: str = _row(
        _URL_OR_NONE, "", "Base URL of Grafana; the status page then links each container to its dashboard"
    )
    sample_interval: float = _row(duration(0.1, 60), 1.0, "Time between two samples of each cgroup with a quota")
    sample_window: float = _row(
        _TIME, 60.0, "Time over which throttled ratio and peak are formed; from two sample intervals to 1h"
    )
    sample_linger: float = _row(
        duration(0, 3600), 60.0, "How long a container's last counters are served after its cgroup is gone"
    )
    scan_interval: float = _row(duration(0.1, 600), 10.0, "Time between two walks of the whole cgroup tree")
    pods_sources: tuple[str, ...] = _row(
        Kind("list", "LIST", _parse_pod_sources),
        _POD_SOURCES,
        "Where the names of pods come from: kubelet, apiserver, logs, file:PATH (a PodList as JSON), tried in this "
        "order, the first that works is used; or none",
    )
    pods_interval: float = _row(
        duration(1, 3600), 60.0, "Time between two reads of the pod list; a container not in it causes one at once"
    )
    kubelet_url: str = _row(
        _URL, "https://127.0.0.1:10250", "Base URL of this node's kubelet", reference="https://$(NODE_IP):10250"
    )
    kubelet_token_file: str | None = _row(
        _FILE, f"{_SERVICE_ACCOUNT}/token", "Bearer token for the kubelet, re-read when it changes; empty for none"
    )
    kubelet_ca_file: str | None = _row(
        _CA_FILE, f"{_SERVICE_ACCOUNT}/ca.crt", "CA of the kubelet's certificate, PEM; empty for those of the system"
    )
    kubelet_insecure_skip_verify: bool = _switch(
        "Do not verify the kubelet's certificate: whoever answers at its address then gets the token"
    )
    kubelet_timeout: float = _row(duration(0.1, 60), 5.0, "Longest time one answer of the kubelet may take")
    apiserver_token_file: str | None = _row(
        _FILE, f"{_SERVICE_ACCOUNT}/token", "Bearer token for the API server, re-read when it changes; empty for none"
    )
    apiserver_ca_file: str | None = _row(
        _CA_FILE, f"{_SERVICE_ACCOUNT}/ca.crt", "CA of the API server's certificate, PEM; empty for those of the system"
    )
    node_name: str = _row(_TEXT, "", "This node's name in Kubernetes; needed by apiserver", reference="$(NODE_NAME)")
    collector_throttle: bool = _switch("Periods, throttled periods, throttled time, windowed ratio and peak", on=True)
    collector_burst: bool = _switch("CFS burst: use and limit", on=True)
    collector_usage: bool = _switch("CPU time used", on=True)
    collector_usage_modes: bool = _switch("CPU time used, by user and system mode", flag="collector.usage_modes")
    collector_limits: bool = _switch("Quota, effective limit, period, and weight or shares", on=True)
    collector_pressure: bool = _switch("Waiting for a CPU (PSI), run queue wait", on=True)
    collector_cpuset: bool = _switch("Which CPUs and NUMA nodes a container has, and whether they are its own", on=True)
    collector_spec: bool = _switch("Requests and limits of the pod's spec, and drift of the cgroup from them", on=True)
    collector_recommend: bool = _switch("CPU limit that each container needs, learned from its bursts", on=True)
    collector_info: bool = _switch("Everything descriptive, one row per container and one per pod", on=True)
    collector_distribution: bool = _switch("Histogram of the throttled ratio of each sample interval")
    log_level: str = _row(
        _LEVEL, "info", "Least severe events that are logged; warn for a command that answers on a terminal"
    )
    log_format: str = _row(choice("FORMAT", "logfmt", "json"), "logfmt", "Form of a log line, on standard error")
    config_file: str | None = _row(_FILE, None, "YAML file with any of these options except this one")

    given: frozenset[str] = field(default=frozenset(), compare=False)  # the attributes that the user set

    @property
    def collectors(self) -> frozenset[str]:
        """The names of the collectors that are on."""
        names = (option.field for option in OPTIONS if option.field.startswith("collector_"))
        return frozenset(name.removeprefix("collector_") for name in names if getattr(self, name))


OPTIONS: Final = tuple(
    Option(field=row.name, fallback=format_value(row.default), **row.metadata)
    for row in fields(Settings)
    if row.metadata
)
