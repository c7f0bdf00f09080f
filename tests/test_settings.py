"""Options: every way to give them, every way to get them wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.errors import ConfigError
from exporter.settings import OPTIONS, Option, Settings, format_value
from exporter.settings_sources import load
from exporter.values import ListenAddress, format_duration, parse_duration, parse_file, parse_listen_address, parse_url

NAMES = [row.flag for row in OPTIONS]
# Other values that are right, one for each option whose kind does not give it.
OTHER = {
    "web.listen-address": "[::1]:0",
    "web.telemetry-path": "/own/metrics",
    "web.grafana-url": "https://grafana.example.com",
    "pods.sources": "logs,file:/pods.json",
    "sample.window": "30s",
    "kubelet.url": "http://192.0.2.7:10255/proxy",
    "node.name": "worker-1",
    "log.level": "debug",
    "log.format": "json",
}


def other_value(row: Option, directory: Path) -> str:
    """A value for ``row`` that is right and not its default."""
    if row.flag in OTHER:
        return OTHER[row.flag]
    if row.is_switch:
        return "false" if row.default == "true" else "true"
    if row.kind.unit == "duration":
        return "2s"
    file = directory / "file"
    file.write_bytes(trustme.CA().cert_pem.bytes())
    return str(file)


def wrong(flags: dict[str, str] | None = None, environ: dict[str, str] | None = None) -> str:
    """The message, which must be one line that a terminal shows as it is."""
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ or {})
    assert str(caught.value).isprintable()
    return str(caught.value)


def wrong_file(path: Path, content: str) -> str:
    path.write_text(content)
    return wrong({"config.file": str(path)})


def test_names_are_unambiguous_in_every_form() -> None:
    assert len({row.variable for row in OPTIONS}) == len(OPTIONS) == len(set(NAMES))
    assert [a for a in NAMES for b in NAMES if b.startswith(f"{a}.")] == []


def test_what_a_row_shows_is_its_default_and_one_sentence() -> None:
    for row in OPTIONS:
        default = getattr(Settings(), row.field)
        assert format_value(default) == row.fallback
        if row.kind.unit != "path":  # a file that is only a default need not be there
            assert row.kind.parse(row.fallback) == default
        assert re.fullmatch(r"[A-Z].*[^.]", row.help)
        assert row.help.isascii()


@pytest.mark.parametrize("row", [row for row in OPTIONS if row.flag != "config.file"], ids=lambda row: row.flag)
def test_every_option_can_be_given_in_every_way(row: Option, tmp_path: Path) -> None:
    value = other_value(row, tmp_path)
    first, _, rest = row.flag.partition(".")
    dotted, nested = tmp_path / "dotted.yaml", tmp_path / "nested.yaml"
    dotted.write_text(f"{row.flag}: '{value}'\n")
    nested.write_text(f"{first}:\n  {rest}: '{value}'\n")
    given_ways = [
        load({row.flag: value}, {}),
        load({}, {row.variable: value}),
        load({"config.file": str(dotted)}, {}),
        load({}, {"THROTTLE_EXPORTER_CONFIG_FILE": str(nested)}),
    ]
    results = [getattr(settings, row.field) for settings in given_ways]
    assert [format_value(result) for result in results] == [value] * 4
    assert value != row.fallback


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("sample: {interval: 2s, linger: 2s}\nscan.interval: 2s\n")
    flags = {"config.file": str(file), "sample.interval": "4s"}
    environ = {"THROTTLE_EXPORTER_SAMPLE_INTERVAL": "3s", "THROTTLE_EXPORTER_SAMPLE_LINGER": "3s"}
    settings = load(flags, environ)
    chosen = (settings.sample_interval, settings.sample_linger, settings.scan_interval, settings.sample_window)
    assert chosen == (4.0, 3.0, 2.0, 60.0)


def test_what_sets_nothing_leaves_the_default(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for content in ("# nothing yet\nsample:\n  interval:\nweb: ~\n", ""):
        file.write_text(content)
        assert load({"config.file": str(file)}, {"THROTTLE_EXPORTER_SAMPLE_LINGER": ""}).given == {"config_file"}
    assert load({"config.file": ""}, {}).config_file is None
    file.write_text("pods:\n  sources: [kubelet, 'file:/pods.json']\n")
    assert load({"config.file": str(file)}, {}).pods_sources == ("kubelet", "file:/pods.json"), "a list may be one"


def test_variables_that_kubernetes_makes_of_services_are_none_of_ours() -> None:
    # What a pod is given beside a Service "throttle-exporter" and one "throttle-exporter-web" in its namespace.
    links = {
        "THROTTLE_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "THROTTLE_EXPORTER_SERVICE_PORT": "9843",
        "THROTTLE_EXPORTER_SERVICE_PORT_METRICS": "9843",
        "THROTTLE_EXPORTER_PORT": "tcp://10.0.0.1:9843",
        "THROTTLE_EXPORTER_PORT_9843_TCP": "tcp://10.0.0.1:9843",
        "THROTTLE_EXPORTER_PORT_9843_TCP_ADDR": "10.0.0.1",
        "THROTTLE_EXPORTER_WEB_SERVICE_HOST": "10.0.0.2",
        "THROTTLE_EXPORTER_WEB_PORT": "tcp://10.0.0.2:80",
    }
    assert load({}, links) == Settings()
    assert "THROTTLE_EXPORTER_PORT: unknown" in wrong(environ={"THROTTLE_EXPORTER_PORT": "9843"})


@pytest.mark.parametrize(
    ("environ", "url", "node"),
    [
        ({}, "https://127.0.0.1:10250", ""),
        ({"NODE_IP": "192.0.2.1", "NODE_NAME": "worker-1"}, "https://192.0.2.1:10250", "worker-1"),
        ({"NODE_IP": "2001:db8::1"}, "https://[2001:db8::1]:10250", ""),
    ],
)
def test_defaults_come_from_the_downward_api_where_it_is_there(environ: dict[str, str], url: str, node: str) -> None:
    settings = load({}, environ)
    assert (settings.kubelet_url, settings.node_name) == (url, node)


@pytest.mark.parametrize("reference", ["$(NODE_IP)", "${NODE_IP}"])
def test_references_are_expanded_in_what_the_user_gives(reference: str) -> None:
    flags = {"kubelet.url": f"http://{reference}:10255"}
    assert load(flags, {"NODE_IP": "192.0.2.1"}).kubelet_url == "http://192.0.2.1:10255"
    assert load(flags, {"NODE_IP": "2001:db8::1"}).kubelet_url == "http://[2001:db8::1]:10255"
    assert wrong(flags) == "--kubelet.url: needs the environment variable NODE_IP, which is not set"


@pytest.mark.parametrize(
    ("flag", "text", "message"),
    [
        ("sample.interval", "99ms", "must be between 100ms and 60s, not '99ms'"),
        ("sample.interval", "1", "must be a duration such as 500ms, 1s or 1m30s, not '1'"),
        ("sample.interval", "1m\n", "must not have control characters, not '1m\\n'"),
        ("sample.window", "1999ms", "must be between 2s and 1h with --sample.interval=1s, not '1999ms'"),
        ("sample.linger", "-1s", "must be a duration such as 500ms, 1s or 1m30s, not '-1s'"),
        ("collector.burst", "maybe", "must be true or false, not 'maybe'"),
        ("log.level", "loud", "must be one of debug, info, warn, error, not 'loud'"),
        ("path.cgroup", "", "must be a path, not ''"),
        ("pods.sources", "kubelet,,logs", "must be none, or a list of kubelet, apiserver, logs and file:PATH"),
        ("pods.sources", "none,kubelet", "must be none, or a list of kubelet, apiserver, logs and file:PATH"),
        ("pods.sources", "logs,logs", "must be none, or a list of kubelet, apiserver, logs and file:PATH"),
        ("pods.sources", "file:", "must be none, or a list of kubelet, apiserver, logs and file:PATH"),
        ("web.telemetry-path", "metrics", "must be a path such as /metrics"),
        ("web.telemetry-path", "/a//b", "must be a path such as /metrics"),
        ("web.telemetry-path", "/{name}", "must be a path such as /metrics"),
        ("web.telemetry-path", "/healthz", "none of the exporter's other pages, not '/healthz'"),
        ("kubelet.ca-file", "/nonexistent/ca", "must be a readable file (No such file or directory), not '/nonex"),
        ("kubelet.ca-file", "/", "must be a readable file (Is a directory), not '/'"),
        ("config.file", "/nonexistent/config.yaml", "must be a readable file (No such file or directory)"),
    ],
)
def test_a_wrong_value_is_told_with_option_bounds_and_value(flag: str, text: str, message: str) -> None:
    told = wrong({flag: text})
    assert told.startswith(f"--{flag}: ")
    assert message in told


def test_a_window_fits_its_interval_and_holds_no_more_readings_than_a_history() -> None:
    assert wrong({"sample.interval": "60s"}) == (
        "--sample.window (default): must be between 2m and 1h with --sample.interval=60s, not '60s'"
    )
    assert "between 200ms and 6m with" in wrong({"sample.interval": "100ms", "sample.window": "1h"})
    assert load({"sample.interval": "100ms", "sample.window": "6m"}, {}).sample_window == 360.0


def test_a_value_is_told_with_the_place_it_was_written_in(tmp_path: Path) -> None:
    message = ": must be between 100ms and 60s, not '0s'"
    file = tmp_path / "c.yaml"
    assert wrong(environ={"THROTTLE_EXPORTER_SAMPLE_INTERVAL": "0s"}) == (
        f"--sample.interval (THROTTLE_EXPORTER_SAMPLE_INTERVAL){message}"
    )
    assert wrong_file(file, "sample:\n  interval: 0s\n") == f"--sample.interval ({file} line 2){message}"


def test_an_unknown_variable_is_told_with_the_nearest() -> None:
    assert wrong(environ={"THROTTLE_EXPORTER_SAMPEL_INTERVAL": "1s"}) == (
        "THROTTLE_EXPORTER_SAMPEL_INTERVAL: unknown environment variable, "
        "did you mean THROTTLE_EXPORTER_SAMPLE_INTERVAL?"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sample:\n  intervall: 1s\n", "line 2: unknown option 'sample.intervall', did you mean sample.interval?"),
        ("sampel: {interval: 1s}\n", "line 1: unknown option 'sampel'"),
        ("sample: 1s\n", "line 1: sample must be a mapping"),
        ("sample.interval: [1s]\n", "line 1: sample.interval must be a duration"),
        ("sample.interval: 1s\nsample: {interval: 2s}\n", "line 2: sample.interval is set a second time, first in li"),
        ("config.file: other.yaml\n", "line 1: config.file cannot be set in the config file itself"),
        ("- sample\n", "line 1: must be a mapping of option names to values"),
        ("sample: {interval: 1s\n", "not YAML: "),
        ("sample: 1s: 2s\n", "line 1: not YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", "line 2: not YAML: expected a single document in the stream, but found another document"),
        ('node.name: "\\UFFFFFFFF"\n', "not YAML ("),
        ('node.name: "\\U7FFFFFFF"\n', "not YAML ("),
        ("\x00", "not YAML (ReaderError)"),
        ("[" * 900, "not YAML (RecursionError)"),
        ("&a {*a : *a}", "line 1: a key must be the name of an option"),
    ],
)
def test_a_wrong_config_file_is_told_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    told = wrong_file(file, content)
    assert told.startswith(f"--config.file: '{file}'")
    assert message in told


@contextmanager
def unprivileged() -> Iterator[None]:
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_wrong_at_start(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.touch(mode=0o000)
    with unprivileged(), pytest.raises(ValueError, match=r"must be a readable file \(Permission denied\)"):
        parse_file(str(file))


@pytest.mark.parametrize("content", ["a token", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_file_without_a_certificate_is_wrong_at_start(content: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(content)
    assert wrong({"kubelet.ca-file": str(file)}).startswith(
        "--kubelet.ca-file: must be a file of CA certificates in PEM, not '"
    )


def test_a_pipe_is_not_consumed_by_looking_at_it() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"token")
    os.close(write_end)
    assert parse_file(f"/dev/fd/{read_end}") == f"/dev/fd/{read_end}"
    assert os.read(read_end, 10) == b"token"
    os.close(read_end)


def test_secrets_given_in_the_wrong_place_are_not_repeated() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
    assert token[:8] not in wrong({"kubelet.token-file": token})
    assert "hunter2" not in wrong({"kubelet.url": "https://admin:hunter2@192.0.2.1:10250"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("500ms", 0.5), ("1m30s", 90), ("1h1ms", 3600.001), ("1d", 86400), ("1w", 604800), ("1y", 31536000)],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "1.5s", "s", "1s1m", "1m1m", "-1s", "+1s", " 1s", "1 s", "1S", "\u0661s", "9" * 40]
)
def test_what_prometheus_would_not_take_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


def test_durations_are_shown_as_people_write_them() -> None:
    shown = [format_duration(seconds) for seconds in (0, 0.1, 1, 60, 90, 119, 120, 150, 3600, 3660.5)]
    assert shown == ["0s", "100ms", "1s", "60s", "90s", "119s", "2m", "2m30s", "1h", "1h1m500ms"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [(":9843", "", 9843), ("127.0.0.1:9843", "127.0.0.1", 9843), ("[::1]:9843", "::1", 9843), (":0", "", 0)],
)
def test_listen_addresses_round_trip(text: str, host: str, port: int) -> None:
    address = parse_listen_address(text)
    assert address == ListenAddress(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "9843", ":", ":65536", ":-1", "::1:9843", "[::1]", "[x]:1", "a b:1", "a/b:1", ":\u0967"]
)
def test_what_is_no_listen_address(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://node-1:10250/", "https://node-1:10250"),
        ("https://2001:db8::1:10250", "https://[2001:db8::1]:10250"),
        ("https://fe80::1", "https://[fe80::1]"),
        ("https://[::1]:10250/proxy/", "https://[::1]:10250/proxy"),
    ],
)
def test_urls_get_what_they_lack(text: str, url: str) -> None:
    assert parse_url(text) == url
    assert parse_url(url) == url


@pytest.mark.parametrize(
    "text",
    ["", "node:10250", "ftp://node", "https://", "https://[::1", "https://n:99999", "https://n?q", "https://n/é"],
)
def test_what_is_no_url_of_a_kubelet(text: str) -> None:
    with pytest.raises(ValueError, match="must be a URL"):
        parse_url(text)


RIGHT = "nothing to complain of"


def tried(flags: dict[str, str], environ: dict[str, str]) -> str:
    try:
        load(flags, environ)
    except ConfigError as error:
        return str(error)
    return RIGHT


@settings(max_examples=25)
@given(st.sampled_from(OPTIONS), st.text(max_size=40))
@example(row=next(row for row in OPTIONS if row.flag == "path.logs"), text="\udcff")  # the byte 0xff in an argument
def test_any_text_is_a_value_or_one_line_that_names_its_option(row: Option, text: str) -> None:
    for message in (tried({row.flag: text}, {}), tried({}, {row.variable: text})):
        assert message.startswith((f"--{row.flag}", RIGHT))
        assert message.isprintable()


@given(st.dictionaries(st.text(max_size=30).map("THROTTLE_EXPORTER_".__add__), st.text(max_size=30)))
def test_any_environment_is_taken_or_told(environ: dict[str, str]) -> None:
    assert tried({}, environ).startswith(("--", "THROTTLE_EXPORTER_", RIGHT))
