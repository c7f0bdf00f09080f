"""Every option of the exporter: the one table behind ``--help``, the environment, the config file and the docs.

An option is added by adding one row to :class:`Settings`. Its type says how text becomes a value, ``Option`` how it is
called and what it means, the default what holds when nobody sets it.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from exporter.settings.kinds import (
    Address,
    Between,
    CaFile,
    Directory,
    Duration,
    File,
    Format,
    Level,
    Name,
    Option,
    PlainPath,
    PodSources,
    Switch,
    Url,
    UrlPath,
)
from exporter.settings.values import ListenAddress, format_duration

MOST_READINGS: Final = 3600
"""Readings of one cgroup that a window may hold: bounds the memory that two options together can ask for."""
_LONGEST_WINDOW: Final = 3600.0
_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


class Settings(BaseModel):
    """What the user chose. Durations are seconds, paths text, an unset file ``None``.

    Defaults are not looked at: a file that is only a default need not exist.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path_cgroup: Annotated[Directory, Option("path.cgroup", "Root of the cgroup hierarchy")] = "/sys/fs/cgroup"
    path_proc: Annotated[Directory, Option("path.proc", "Mount point of procfs")] = "/proc"
    path_sys: Annotated[Directory, Option("path.sys", "Mount point of sysfs")] = "/sys"
    path_logs: Annotated[
        Directory, Option("path.logs", "The node's log directory; only names in it are read, by the pod source logs")
    ] = "/var/log"
    path_cpu_manager_state: Annotated[
        PlainPath,
        Option("path.cpu-manager-state", "The kubelet's CPU manager checkpoint; read where it is there and readable"),
    ] = "/var/lib/kubelet/cpu_manager_state"

    web_listen_address: Annotated[
        Address,
        Option("web.listen-address", "Where to serve; without a host on all interfaces, port 0 for a free one"),
    ] = ListenAddress("", 9843)
    web_telemetry_path: Annotated[UrlPath, Option("web.telemetry-path", "Path of the metrics page")] = "/metrics"
    web_config_file: Annotated[
        File, Option("web.config.file", "TLS and basic authentication, in the format of Prometheus exporter-toolkit")
    ] = None
    web_cadvisor_names: Annotated[
        Switch, Option("web.cadvisor-names", "Also serve the throttling metrics under cAdvisor's names and labels")
    ] = False

    sample_interval: Annotated[
        Duration, Between(0.1, 60), Option("sample.interval", "Time between two samples of each cgroup with a quota")
    ] = 1.0
    sample_window: Annotated[
        Duration,
        Option("sample.window", "Time over which throttled ratio and peak are formed; from two sample intervals to 1h"),
    ] = Field(60.0, validate_default=True)
    sample_linger: Annotated[
        Duration,
        Between(0, 3600),
        Option("sample.linger", "How long a container's last counters are served after its cgroup is gone"),
    ] = 60.0
    scan_interval: Annotated[
        Duration, Between(0.1, 600), Option("scan.interval", "Time between two walks of the whole cgroup tree")
    ] = 10.0

    pods_sources: Annotated[
        PodSources,
        Option(
            "pods.sources",
            "Where the names of pods come from: kubelet, apiserver, logs, file:PATH (a PodList as JSON), tried in this "
            "order, the first that works is used; or none",
        ),
    ] = ("kubelet", "apiserver", "logs")
    pods_interval: Annotated[
        Duration,
        Between(1, 3600),
        Option("pods.interval", "Time between two reads of the pod list; a container not in it causes one at once"),
    ] = 60.0

    kubelet_url: Annotated[
        Url, Option("kubelet.url", "Base URL of this node's kubelet", from_environment="https://$(NODE_IP):10250")
    ] = "https://127.0.0.1:10250"
    kubelet_token_file: Annotated[
        File, Option("kubelet.token-file", "Bearer token for the kubelet, re-read when it changes; empty for none")
    ] = f"{_SERVICE_ACCOUNT}/token"
    kubelet_ca_file: Annotated[
        CaFile, Option("kubelet.ca-file", "CA of the kubelet's certificate, PEM; empty for those of the system")
    ] = f"{_SERVICE_ACCOUNT}/ca.crt"
    kubelet_insecure_skip_verify: Annotated[
        Switch,
        Option(
            "kubelet.insecure-skip-verify",
            "Do not verify the kubelet's certificate: whoever answers at its address then gets the token",
        ),
    ] = False
    kubelet_timeout: Annotated[
        Duration, Between(0.1, 60), Option("kubelet.timeout", "Longest time one answer of the kubelet may take")
    ] = 5.0

    apiserver_token_file: Annotated[
        File, Option("apiserver.token-file", "Bearer token for the API server, re-read when it changes; empty for none")
    ] = f"{_SERVICE_ACCOUNT}/token"
    apiserver_ca_file: Annotated[
        CaFile, Option("apiserver.ca-file", "CA of the API server's certificate, PEM; empty for those of the system")
    ] = f"{_SERVICE_ACCOUNT}/ca.crt"

    node_name: Annotated[
        Name,
        Option("node.name", "This node's name in Kubernetes; needed by apiserver", from_environment="$(NODE_NAME)"),
    ] = ""

    collector_throttle: Annotated[
        Switch, Option("collector.throttle", "Periods, throttled periods, throttled time, windowed ratio and peak")
    ] = True
    collector_burst: Annotated[Switch, Option("collector.burst", "CFS burst: use and limit")] = True
    collector_usage: Annotated[Switch, Option("collector.usage", "CPU time used")] = True
    collector_usage_modes: Annotated[
        Switch, Option("collector.usage_modes", "CPU time used, by user and system mode")
    ] = False
    collector_limits: Annotated[
        Switch, Option("collector.limits", "Quota, effective limit, period, and weight or shares")
    ] = True
    collector_pressure: Annotated[Switch, Option("collector.pressure", "Waiting for a CPU (PSI), run queue wait")] = (
        True
    )
    collector_cpuset: Annotated[
        Switch, Option("collector.cpuset", "Which CPUs and NUMA nodes a container has, and whether they are its own")
    ] = True
    collector_spec: Annotated[
        Switch, Option("collector.spec", "Requests and limits of the pod's spec, and drift of the cgroup from them")
    ] = True
    collector_info: Annotated[Switch, Option("collector.info", "Everything descriptive, one row per container")] = True
    collector_distribution: Annotated[
        Switch, Option("collector.distribution", "Histogram of the throttled ratio of each sample interval")
    ] = False

    log_level: Annotated[
        Level, Option("log.level", "Least severe events that are logged; warn for a command that answers on a terminal")
    ] = "info"
    log_format: Annotated[Format, Option("log.format", "Form of a log line, on standard error")] = "logfmt"
    config_file: Annotated[File, Option("config.file", "YAML file with any of these options except this one")] = None

    @field_validator("sample_window")
    @classmethod
    def _window_holds_readings(cls, window: float, info: ValidationInfo) -> float:
        """A window has two intervals at least, and no more readings than a history holds."""
        interval = info.data.get("sample_interval")
        if interval is not None:
            allowed = Between(2 * interval, min(MOST_READINGS * interval, _LONGEST_WINDOW))
            if not allowed.low <= window <= allowed.high:
                raise ValueError(f"must be {allowed} with --sample.interval={format_duration(interval)}")
        return window

    @property
    def collectors(self) -> frozenset[str]:
        """Names of the collectors that are on."""
        prefix = "collector_"
        return frozenset(name.removeprefix(prefix) for name, value in self if value and name.startswith(prefix))
