"""values.yaml and its schema: nothing unsaid, nothing unknown, and what is generated is fresh."""

import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml

from tests.chart.charting import CASES, CHART, Json, load_chart, refusal, texts
from tests.chart.options import schema_with_options, values_with_options
from tests.conftest import Generated

VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"

LINT_WARNING = 2

WRONG: dict[str, tuple[Json, str]] = {
    "unknown value": ({"conifg": {}}, "at '': additional properties 'conifg' not allowed"),
    "unknown option": (
        {"config": {"sample": {"intervall": "1s"}}},
        "at '/config/sample': additional properties 'intervall' not allowed",
    ),
    "number for a duration": (
        {"config": {"sample": {"interval": 5}}},
        "at '/config/sample/interval': got number, want null or string",
    ),
    "duration that is none": (
        {"config": {"sample": {"window": "one minute"}}},
        "at '/config/sample/window': 'one minute' does not match pattern",
    ),
    "text for a switch": (
        {"config": {"collector": {"burst": "nope"}}},
        "at '/config/collector/burst': got string, want null or boolean",
    ),
    "unknown level": (
        {"config": {"log": {"level": "loud"}}},
        "at '/config/log/level': 'loud' does not match pattern '^(debug|info|warn|error)$'",
    ),
    "unknown pod source": (
        {"config": {"pods": {"sources": ["kubelet", "kublet"]}}},
        "at '/config/pods/sources/1': 'kublet' does not match pattern '^(none|(kubelet|apiserver|logs|file:[^,]+))$'",
    ),
    "address with a password": (
        {"config": {"kubelet": {"url": "https://me:secret@node:10250"}}},
        "at '/config/kubelet/url': 'https://me:secret@node:10250' does not match pattern",
    ),
    "digest too short": (
        {"image": {"digest": "sha256:4b1d"}},
        "at '/image/digest': 'sha256:4b1d' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
    ),
    "pull policy in small letters": (
        {"image": {"pullPolicy": "always"}},
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    "list as map": ({"tolerations": {"operator": "Exists"}}, "at '/tolerations': got object, want array"),
    "switch for a quantity": (
        {"resources": {"limits": {"memory": True}}},
        "at '/resources/limits/memory': got boolean, want number or string",
    ),
    "relative host path": (
        {"hostPaths": {"cgroup": "sys/fs/cgroup"}},
        "at '/hostPaths/cgroup': 'sys/fs/cgroup' does not match pattern",
    ),
    "argument without dashes": (
        {"extraArgs": ["log.level=debug"]},
        "at '/extraArgs/0': 'log.level=debug' does not match pattern",
    ),
    "negative seconds": (
        {"terminationGracePeriodSeconds": -1},
        "at '/terminationGracePeriodSeconds': minimum: got -1, want 0",
    ),
    "number for a label": ({"podLabels": {"tier": 1}}, "at '/podLabels/tier': got number, want string"),
    "unknown threshold": (
        {"prometheusRule": {"thresholds": {"highRation": 0.5}}},
        "at '/prometheusRule/thresholds': additional properties 'highRation' not allowed",
    ),
    "text for a share": (
        {"prometheusRule": {"thresholds": {"highRatio": "a lot"}}},
        "at '/prometheusRule/thresholds/highRatio': got string, want number",
    ),
    "number for a rule's duration": (
        {"prometheusRule": {"thresholds": {"highFor": 15}}},
        "at '/prometheusRule/thresholds/highFor': got number, want string",
    ),
    "duration of a rule that is none": (
        {"prometheusRule": {"thresholds": {"severeKeep": "ten minutes"}}},
        "at '/prometheusRule/thresholds/severeKeep': 'ten minutes' does not match pattern",
    ),
    "pattern that ends its quotes": (
        {"prometheusRule": {"thresholds": {"jobPattern": 'a"} or vector(1)'}}},
        "at '/prometheusRule/thresholds/jobPattern'",
    ),
    "alert that is none": (
        {"prometheusRule": {"disabledAlerts": ["CPUThrotlingHigh"]}},
        "at '/prometheusRule/disabledAlerts/0': value must be one of",
    ),
    "any free port": (
        {"config": {"web": {"listen-address": ":0"}}},
        "at '/config/web/listen-address': ':0' does not match",
    ),
    "port that is none": (
        {"config": {"web": {"listen-address": ":65536"}}},
        "at '/config/web/listen-address': ':65536' does not match",
    ),
    "role for everybody's account": (
        {"serviceAccount": {"create": False}},
        "every pod of the namespace that names no account would get the exporter's rights",
    ),
    "monitor without the certificate's CA": (
        {"serviceMonitor": {"enabled": True}, "webConfig": {"existingSecret": "mine", "tls": True}},
        "serviceMonitor.tlsConfig is empty",
    ),
    "monitor without the password": (
        {"podMonitor": {"enabled": True}, "webConfig": {"content": {"basic_auth_users": {"a": "b"}}}},
        "podMonitor.basicAuth is empty",
    ),
    "monitor without any credentials": (
        {"podMonitor": {"enabled": True}, "webConfig": {"existingSecret": "mine", "credentials": True}},
        "podMonitor.basicAuth and podMonitor.tlsConfig are empty",
    ),
    "two monitors": (
        {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "each exporter would be scraped twice. Choose one.",
    ),
    "monitor without its Service": (
        {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}},
        "serviceMonitor.enabled needs service.enabled",
    ),
    "two web configs": (
        {"webConfig": {"content": {"basic_auth_users": {"a": "b"}}, "existingSecret": "mine"}},
        "webConfig.content and webConfig.existingSecret are both set",
    ),
    "web config twice": (
        {"webConfig": {"existingSecret": "mine"}, "config": {"web": {"config": {"file": "/elsewhere.yml"}}}},
        "config.web.config.file is set, and webConfig sets it too",
    ),
    "certificate in the web config's own Secret": (
        {"webConfig": {"existingSecret": "mine", "tlsSecret": "mine"}},
        "webConfig.tlsSecret is the Secret that holds the web config file",
    ),
    "certificate without a web config": (
        {"webConfig": {"tlsSecret": "mine"}},
        "turn nothing on by themselves: the exporter would serve plain HTTP to everybody",
    ),
    "TLS without a web config": ({"webConfig": {"tls": True}}, "turn nothing on by themselves"),
    "credentials without a web config": ({"webConfig": {"credentials": True}}, "turn nothing on by themselves"),
    "certificate beside a file of one's own": (
        {"webConfig": {"tlsSecret": "mine", "tls": True}, "config": {"web": {"config": {"file": "/own.yml"}}}},
        "webConfig.tlsSecret has no effect with config.web.config.file",
    ),
    "certificate that the web config does not use": (
        {"webConfig": {"tlsSecret": "mine", "content": {"basic_auth_users": {"a": "b"}}}},
        "webConfig.content has no tls_server_config",
    ),
    "credentials that the web config does not ask for": (
        {"webConfig": {"credentials": True, "content": {"tls_server_config": {"cert_file": "a", "key_file": "b"}}}},
        "webConfig.content asks for neither a password nor a client certificate",
    ),
    "right without a role": (
        {"rbac": {"create": False, "legacyNodesProxy": True}},
        "rbac.legacyNodesProxy has no effect with rbac.create: false",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_in_words(case: str) -> None:
    values, message = WRONG[case]
    said = refusal(values)
    assert message in said
    assert "error calling" not in said.split(message)[0], "the schema or the chart says it, not a template that broke"


@pytest.mark.parametrize("case", CASES)
def test_lint_is_strict_and_silent(case: str) -> None:
    report = helm_python.lint(CHART, CASES[case], strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] >= LINT_WARNING] == []


@pytest.mark.docs
def test_values_name_every_option_and_say_what_it_does(generated: Generated) -> None:
    generated(VALUES, values_with_options(VALUES.read_text()))


@pytest.mark.docs
def test_schema_knows_every_option_and_threshold(generated: Generated) -> None:
    schema = schema_with_options(json.loads(SCHEMA.read_text()))
    generated(SCHEMA, json.dumps(schema, indent=2) + "\n")


def declared(schema: Json, path: str = "") -> Iterator[str]:
    """Paths of the values that the schema knows, as far down as it names them."""
    for name, node in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        if "properties" in node:
            yield from declared(node, here)
        else:
            yield here


def leaves(values: Any, schema: Json, path: str = "") -> Iterator[str]:
    """Paths of the values, as far down as the schema names them."""
    for name, value in values.items():
        here = f"{path}.{name}".lstrip(".")
        node = schema["properties"][name]
        if "properties" in node and isinstance(value, dict):
            yield from leaves(value, node, here)
        else:
            yield here


UNSET = {
    "global",  # Helm's own
    "livenessProbe.successThreshold",  # 1, and Kubernetes allows no other
    "livenessProbe.terminationGracePeriodSeconds",
    "readinessProbe.successThreshold",
    "readinessProbe.terminationGracePeriodSeconds",
    "startupProbe.successThreshold",
    "startupProbe.terminationGracePeriodSeconds",
    "resources.claims",
    "updateStrategy.rollingUpdate.maxSurge",
}
"""What the schema allows because Kubernetes has it, and the chart leaves alone."""


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_has_a_value() -> None:
    schema = json.loads(SCHEMA.read_text())
    values = yaml.safe_load(VALUES.read_text())
    known = set(declared(schema)) - UNSET
    assert set(leaves(values, schema)) == {path for path in known if not path.startswith("prometheusRule.thresholds.")}


def test_every_value_has_a_comment() -> None:
    schema = json.loads(SCHEMA.read_text())
    lines = VALUES.read_text().splitlines()
    wanted = set(leaves(yaml.safe_load(VALUES.read_text()), schema))
    bare = []
    for node, path in keys(yaml.compose(VALUES.read_text()), ""):
        above = lines[node.start_mark.line - 1].strip() if node.start_mark.line else ""
        if path in wanted and not above.startswith("# "):
            bare.append(path)
    assert bare == []


def keys(node: yaml.Node | None, path: str) -> Iterator[tuple[yaml.Node, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = f"{path}.{key.value}".lstrip(".")
            yield key, here
            yield from keys(value, here)


def test_the_schema_forbids_unknown_keys_wherever_it_names_some() -> None:
    def open_objects(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            if "properties" in node and node.get("additionalProperties") is not False:
                yield path
            for name, child in node.items():
                yield from open_objects(child, f"{path}/{name}")

    assert list(open_objects(json.loads(SCHEMA.read_text()), "")) == []


def test_no_other_value_than_those_documented_is_read() -> None:
    # Helm gives nothing for a value that is not there; so each one that templates name has to exist.
    schema = json.loads(SCHEMA.read_text())
    known = set(declared(schema)) | {path.rsplit(".", n)[0] for path in declared(schema) for n in (1, 2)}
    read = {
        match.removeprefix(".Values.").rstrip(".")
        for template in load_chart().templates
        for match in _value_references(template["data"])
    }
    unknown = {path for path in read if not any(_covers(one, path) for one in known)}
    assert read
    assert unknown == set()


def _value_references(text: str) -> Iterator[str]:
    yield from re.findall(r"\.Values\.[A-Za-z.]+", text)


def _covers(known: str, path: str) -> bool:
    return path == known or path.startswith(f"{known}.") or known.startswith(f"{path}.")


@pytest.mark.parametrize(
    ("web", "wanted"),
    [
        ({"basic_auth_users": {"a": "b"}}, "curl --user NAME --silent"),
        (
            {"tls_server_config": {"client_auth_type": "RequireAndVerifyClientCert"}},
            "curl --insecure --cert FILE --key FILE --silent",
        ),
        ({}, "curl --silent"),
    ],
)
def test_the_notes_know_what_the_exporter_asks_for(web: Json, wanted: str) -> None:
    assert wanted in texts({"webConfig": {"content": web}})["NOTES.txt"]


def test_the_notes_say_what_to_do_when_pod_security_refuses_the_pods() -> None:
    assert "violates PodSecurity" in texts({})["NOTES.txt"]
    assert "pod-security.kubernetes.io/enforce=privileged" in texts({})["NOTES.txt"]


def test_the_notes_name_both_where_the_chart_cannot_read_the_file() -> None:
    values = {"webConfig": {"existingSecret": "mine", "credentials": True}}
    assert "curl [--user NAME] [--cert FILE --key FILE] --silent" in texts(values)["NOTES.txt"]


def test_every_case_renders() -> None:
    assert all(texts(values)["NOTES.txt"] for values in CASES.values())
