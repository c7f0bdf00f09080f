"""Each setting of the exporter can be reached from values, each value under ``config`` is one, and means the same."""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

from exporter.__main__ import main
from exporter.cli import Command, CommandModule
from exporter.settings import OPTIONS, Option, Settings
from exporter.settings_sources import load
from tests.chart.charting import CASES, CHART, container, daemonset, objects, only, refusal
from tests.chart.options import flat, nested
from tests.support.fake_kubelet import Authority

NODE = {"NODE_NAME": "node-1", "NODE_IP": "192.0.2.7"}

EXAMPLES: dict[str, tuple[Any, Any]] = {
    "path.cgroup": ("/node/cgroup", "/node/cgroup"),
    "path.proc": ("/node/proc", "/node/proc"),
    "path.sys": ("/node/sys", "/node/sys"),
    "path.logs": ("/node/log", "/node/log"),
    "web.listen-address": ("[::1]:9900", ("::1", 9900)),
    "web.telemetry-path": ("/throttling", "/throttling"),
    "web.grafana-url": ("https://grafana.example", "https://grafana.example"),
    "pods.sources": (["logs", "kubelet"], ("logs", "kubelet")),
    "kubelet.url": ("http://$(NODE_IP):10255", "http://192.0.2.7:10255"),
    "node.name": ("$(NODE_NAME).example.org", "node-1.example.org"),
    "log.level": ("warn", "warn"),
    "log.format": ("json", "json"),
}
"""What a user writes, and what the exporter has then. Other kinds are the same for every option, see ``example``."""


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("exporter")
    level, own_level, handlers = root.level, own.level, root.handlers[:]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)
    logging.captureWarnings(capture=False)


@dataclass(frozen=True)
class Seen(Command):
    """Stands for the command ``serve``: takes the settings and does nothing."""

    settings: list[Settings] = field(default_factory=list)

    @override
    def load(self) -> CommandModule:
        return self

    def add_arguments(self, parser: ArgumentParser) -> None:
        pass

    def run(self, settings: Settings, args: Namespace) -> int:
        self.settings.append(settings)
        return 0


def settings_of(values: dict[str, Any], environ: dict[str, str] | None = None) -> Settings:
    """What the process that the chart starts would do, by the exporter's own reading of its arguments."""
    seen = Seen("serve", "keeps the settings")
    assert main(container(values)["args"], environ=environ or NODE, commands=[seen]) == 0
    return seen.settings[0]


def values_of(settings: Settings) -> dict[str, Any]:
    return {option.field: getattr(settings, option.field) for option in OPTIONS}


def example(row: Option, folder: Path) -> tuple[Any, Any]:
    """A value that is not the default, and what becomes of it."""
    if row.flag in EXAMPLES:
        return EXAMPLES[row.flag]
    match row.kind.unit:
        case "switch":
            other = row.default != "true"
            return other, other
        case "duration":
            return "3s", 3.0
        case "path":
            file = folder / row.flag
            file.write_text("# nothing in it\n")
            if row.flag.endswith(".ca-file"):
                Authority().write(file)
            return str(file), str(file)
        case unit:
            raise AssertionError(f"{row.flag}: a {unit} needs an example of its own")


def test_values_and_settings_have_the_same_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["config"]
    assert {path for path, _ in flat(values)} == {row.flag for row in OPTIONS}


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.flag)
def test_each_setting_is_reached_and_moves_nothing_else(row: Option, tmp_path: Path) -> None:
    written, meant = example(row, tmp_path)
    before = values_of(settings_of({}))
    after = values_of(settings_of({"config": nested({row.flag: written})}))
    changed = {name: value for name, value in after.items() if value != before[name]}
    assert changed == {row.field: meant}


def test_nothing_set_is_the_exporter_s_own_default_but_for_what_the_chart_mounts() -> None:
    bare = values_of(load({}, NODE))
    chart = values_of(settings_of({}))
    assert {name: value for name, value in chart.items() if value != bare[name]} == {
        "path_cgroup": "/host/sys/fs/cgroup",
        "path_logs": "/host/var/log",
        "pods_sources": ("kubelet", "apiserver"),
    }


def test_the_node_is_told_by_the_downward_api_ipv6_included() -> None:
    assert container({})["env"][:2] == [
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "NODE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]
    assert settings_of({}, NODE).kubelet_url == "https://192.0.2.7:10250"
    assert settings_of({}, NODE | {"NODE_IP": "2001:db8::7"}).kubelet_url == "https://[2001:db8::7]:10250"
    assert settings_of({}, NODE).node_name == "node-1"


def test_sources_may_be_text_or_list_and_null_is_the_exporter_s_default() -> None:
    listed = settings_of({"config": {"pods": {"sources": ["kubelet", "logs"]}}})
    written = settings_of({"config": {"pods": {"sources": "kubelet,logs"}}})
    assert listed.pods_sources == written.pods_sources == ("kubelet", "logs")
    nobody = objects({"config": {"pods": {"sources": None}}})
    [default] = [row.default for row in OPTIONS if row.flag == "pods.sources"]
    assert default == "kubelet,apiserver,logs"
    assert only(nobody, "ClusterRole")["rules"] == only(objects(CASES["all-sources"]), "ClusterRole")["rules"]
    assert len(only(nobody, "DaemonSet")["spec"]["template"]["spec"]["volumes"]) == 3


@pytest.mark.parametrize("values", [{}, CASES["options"], {"config": {"web": {"listen-address": "[::]:9901"}}}])
def test_the_port_is_where_the_process_listens(values: dict[str, Any]) -> None:
    listens = settings_of(values).web_listen_address.port
    [port] = container(values)["ports"]
    assert port == {"name": "metrics", "containerPort": listens, "protocol": "TCP"}
    service = only(objects(values), "Service")
    assert service["spec"]["ports"] == [
        {"name": "metrics", "port": listens, "targetPort": "metrics", "protocol": "TCP"}
    ]


def test_the_cgroup_tree_is_mounted_where_the_process_looks_for_it() -> None:
    for values in ({}, CASES["options"]):
        [mount] = [one for one in container(values)["volumeMounts"] if one["name"] == "cgroup"]
        assert mount["mountPath"] == settings_of(values).path_cgroup


def test_what_kubectl_exec_starts_finds_the_tree_and_the_exporter() -> None:
    for values in ({}, CASES["options"]):
        found = container(values)
        environ = NODE | {one["name"]: one["value"] for one in found["env"] if "value" in one}
        seen = Seen("explain", "keeps the settings")
        assert main(["explain"], environ=environ, commands=[seen]) == 0
        served, executed = settings_of(values), seen.settings[0]
        for name, value in values_of(served).items():
            if name.startswith(("path_", "web_")):
                assert getattr(executed, name) == value, name
    assert {"name": "THROTTLE_EXPORTER_WEB_CONFIG_FILE", "value": "/etc/kube-throttle-exporter/web/web-config.yml"} in (
        container(CASES["web-tls"])["env"]
    )


def test_further_arguments_come_last_and_win() -> None:
    values = {"config": {"log": {"level": "warn"}}, "extraArgs": ["--log.level=debug"]}
    assert settings_of(values).log_level == "debug"


def test_the_web_config_is_mounted_where_the_process_is_told() -> None:
    for case in ("web-tls", "web-basic-auth", "web-client-certificates"):
        spec = daemonset(CASES[case])["spec"]["template"]["spec"]
        [file] = [
            argument.partition("=")[2]
            for argument in spec["containers"][0]["args"]
            if argument.startswith("--web.config.file=")
        ]
        [mount] = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "web-config"]
        assert file == f"{mount['mountPath']}/web-config.yml"
        assert mount["readOnly"] is True


def test_a_value_that_is_no_text_cannot_break_out_of_its_argument() -> None:
    said = refusal({"config": {"node": {"name": "a\n- --web.listen-address=:1"}}})
    assert "at '/config/node/name'" in said
    quoted = {"config": {"node": {"name": 'a" b: {{ .Release.Name }} # c'}}}
    assert '--node.name=a" b: {{ .Release.Name }} # c' in container(quoted)["args"]
