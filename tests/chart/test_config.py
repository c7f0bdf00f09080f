"""Each setting of the exporter can be reached from values, each value under ``config`` is one, and means the same."""

from pathlib import Path
from typing import Any

import pytest

from exporter.settings import OPTIONS, Option, Settings
from exporter.settings_sources import build_parser, load, parse_flags
from tests.chart.charting import CASES, container, daemonset, objects, only, refusal
from tests.chart.options import nested
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


def settings_of(values: dict[str, Any], environ: dict[str, str] = NODE) -> Settings:
    """What the process that the chart starts would do, by the exporter's own reading of its arguments."""
    flags, _, words = parse_flags(build_parser("", "", ""), container(values)["args"])
    assert words == ["serve"]
    return load(flags, environ)


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
    assert settings_of({}, NODE).kubelet_url == "https://192.0.2.7:10250"
    assert settings_of({}, NODE | {"NODE_IP": "2001:db8::7"}).kubelet_url == "https://[2001:db8::7]:10250"
    assert settings_of({}, NODE).node_name == "node-1"


def test_sources_may_be_text_or_list_and_null_is_the_exporter_s_default() -> None:
    assert settings_of({"config": {"pods": {"sources": "kubelet,logs"}}}).pods_sources == ("kubelet", "logs")
    unset, every = (objects(values) for values in ({"config": {"pods": {"sources": None}}}, CASES["all-sources"]))
    assert [row.default for row in OPTIONS if row.flag == "pods.sources"] == ["kubelet,apiserver,logs"]
    assert only(unset, "ClusterRole")["rules"] == only(every, "ClusterRole")["rules"]
    specs = [only(found, "DaemonSet")["spec"]["template"]["spec"] for found in (unset, every)]
    assert specs[0]["volumes"] == specs[1]["volumes"]


def test_further_arguments_come_last() -> None:
    values = {"config": {"log": {"level": "warn"}}, "extraArgs": ["--log.level=debug"]}
    assert settings_of(values).log_level == "debug"


def test_a_new_web_config_restarts_the_pods() -> None:
    def checksum(password: str) -> str:
        values = {"webConfig": {"content": {"basic_auth_users": {"prometheus": password}}}}
        found: str = daemonset(values)["spec"]["template"]["metadata"]["annotations"]["checksum/web-config"]
        return found

    assert checksum("a") != checksum("b")


def test_a_value_that_is_no_text_cannot_break_out_of_its_argument() -> None:
    said = refusal({"config": {"node": {"name": "a\n- --web.listen-address=:1"}}})
    assert "at '/config/node/name'" in said
    quoted = {"config": {"node": {"name": 'a" b: {{ .Release.Name }} # c'}}}
    assert '--node.name=a" b: {{ .Release.Name }} # c' in container(quoted)["args"]
