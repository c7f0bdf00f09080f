"""The objects that are not Kubernetes' own, strict, as far as the chart uses them.

Written from the API references of the Prometheus operator (monitoring.coreos.com/v1) and of OpenShift
(security.openshift.io/v1). A field that is not here is one the chart has no business to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Duration = Annotated[str, Field(pattern=r"^(0|(\d+(ms|[smhdwy]))+)$")]
Labels = dict[str, str]


class Strict(BaseModel):
    """No field but those named, no value but of the type named."""

    # By its alias only: a field in snake_case is one that the operator would not know. The plugin's complaint is about
    # keyword arguments, which nobody here uses.
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)  # type: ignore[pydantic-alias] # see above


class Key(Strict):
    name: str
    key: str
    optional: bool | None = None


class SecretOrConfigMap(Strict):
    secret: Key | None = None
    config_map: Key | None = None


class TlsConfig(Strict):
    ca: SecretOrConfigMap | None = None
    cert: SecretOrConfigMap | None = None
    key_secret: Key | None = None
    server_name: str | None = None
    insecure_skip_verify: bool | None = None


class BasicAuth(Strict):
    username: Key
    password: Key


class Relabeling(Strict):
    action: Literal["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap", "hashmod"] = "replace"
    source_labels: list[str] = []
    target_label: str | None = None
    regex: str | None = None
    replacement: str | None = None
    separator: str | None = None
    modulus: int | None = None


class Endpoint(Strict):
    port: str
    path: str
    scheme: Literal["http", "https"]
    honor_labels: Literal[True]
    interval: Duration | None = None
    scrape_timeout: Duration | None = None
    tls_config: TlsConfig | None = None
    basic_auth: BasicAuth | None = None
    relabelings: list[Relabeling]
    metric_relabelings: list[Relabeling] = []


class Selector(Strict):
    match_labels: Labels


class Namespaces(Strict):
    match_names: list[str]


class Monitor(Strict):
    namespace_selector: Namespaces
    selector: Selector
    sample_limit: Annotated[int, Field(gt=0)] | None = None


class ServiceMonitor(Monitor):
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class PodMonitor(Monitor):
    pod_metrics_endpoints: Annotated[list[Endpoint], Field(min_length=1)]


class Rule(Strict):
    model_config = ConfigDict(alias_generator=None)

    expr: str
    alert: str | None = None
    record: str | None = None
    hold: Annotated[Duration | None, Field(alias="for")] = None
    keep_firing_for: Duration | None = None
    labels: Labels = {}
    annotations: Labels = {}


class Group(Strict):
    name: str
    interval: Duration | None = None
    rules: Annotated[list[Rule], Field(min_length=1)]


class PrometheusRule(Strict):
    groups: Annotated[list[Group], Field(min_length=1)]


class Strategy(Strict):
    type: Literal["MustRunAs", "MustRunAsNonRoot", "MustRunAsRange", "RunAsAny"]
    uid: Annotated[int, Field(gt=0)] | None = None
    se_linux_options: Labels | None = None


class SecurityContextConstraints(Strict):
    allow_host_dir_volume_plugin: bool
    allow_host_ipc: Annotated[bool, Field(alias="allowHostIPC")]
    allow_host_network: bool
    allow_host_pid: Annotated[bool, Field(alias="allowHostPID")]
    allow_host_ports: bool
    allow_privilege_escalation: bool
    allow_privileged_container: bool
    read_only_root_filesystem: bool
    allowed_capabilities: list[str]
    default_add_capabilities: list[str]
    required_drop_capabilities: list[str]
    run_as_user: Strategy
    se_linux_context: Strategy
    fs_group: Strategy
    supplemental_groups: Strategy
    seccomp_profiles: list[str]
    volumes: list[str]
    users: list[str]
    groups: list[str]
    priority: int | None


_OPERATOR: Final = "monitoring.coreos.com/v1"
_SPECS: Final[Mapping[tuple[str, str], type[Strict]]] = {
    (_OPERATOR, "ServiceMonitor"): ServiceMonitor,
    (_OPERATOR, "PodMonitor"): PodMonitor,
    (_OPERATOR, "PrometheusRule"): PrometheusRule,
}


def is_custom(found: Mapping[str, Any]) -> bool:
    """Whether Kubernetes itself does not know the object."""
    return found["apiVersion"] in {_OPERATOR, "security.openshift.io/v1"}


def check(found: Mapping[str, Any]) -> None:
    """Raises ``pydantic.ValidationError``; ``KeyError`` for a kind that is not known here."""
    rest = {name: value for name, value in found.items() if name not in {"apiVersion", "kind", "metadata"}}
    if found["kind"] == "SecurityContextConstraints":
        SecurityContextConstraints.model_validate(rest)
    else:
        assert set(rest) == {"spec"}
        _SPECS[found["apiVersion"], found["kind"]].model_validate(rest["spec"])
