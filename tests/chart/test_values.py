"""values.yaml and its schema: nothing unsaid, nothing unknown, and what is generated is fresh."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.chart.charting import CASES, CHART, Json, load_chart, refusal
from tests.chart.options import schema_with_options, values_with_options
from tests.conftest import Generated

VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"

WRONG: dict[str, Json] = yaml.safe_load(Path(__file__).with_name("wrong-values.yaml").read_text())


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_in_words(case: str) -> None:
    message = WRONG[case]["message"]
    said = refusal(WRONG[case]["values"])
    assert message in said
    assert "error calling" not in said.split(message)[0], "the schema or the chart says it, not a template that broke"


@pytest.mark.parametrize("case", CASES)
def test_lint_is_strict_and_silent(case: str) -> None:
    report = helm_python.lint(CHART, CASES[case], strict=True)
    assert [*report["errors"], *(one for one in report["messages"] if one["severity"] >= 2)] == []


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
        yield from declared(node, here) if "properties" in node else [here]


UNSET = {
    "global",  # Helm's own
    *(f"{name}Probe.successThreshold" for name in ("liveness", "readiness", "startup")),  # 1, no other is allowed
    *(f"{name}Probe.terminationGracePeriodSeconds" for name in ("liveness", "readiness", "startup")),
    "resources.claims",
    "updateStrategy.rollingUpdate.maxSurge",
}
"""What the schema allows because Kubernetes has it, and the chart leaves alone."""


def test_every_value_has_a_comment_and_is_in_the_schema_and_the_other_way_round() -> None:
    wanted = {path for path in declared(json.loads(SCHEMA.read_text())) if not path.startswith("prometheusRule.thres")}
    text = VALUES.read_text()
    lines, found = text.splitlines(), dict(keys(yaml.compose(text), ""))
    assert wanted - UNSET - {"prometheusRule.thresholds"} <= set(found)
    leaves = {path for path in found if not any(other.startswith(f"{path}.") for other in found)}
    assert {path for path in leaves if not any(path == one or path.startswith(f"{one}.") for one in wanted)} == {
        "prometheusRule.thresholds"
    }
    bare = {path for path in wanted & set(found) if not lines[found[path].start_mark.line - 1].strip().startswith("# ")}
    assert bare == set()


def keys(node: yaml.Node | None, path: str) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = f"{path}.{key.value}".lstrip(".")
            yield here, key
            yield from keys(value, here)


def test_the_schema_forbids_unknown_keys_wherever_it_names_some() -> None:
    found: list[Json] = []

    def keep(node: Json) -> Json:
        found.append(node)
        return node

    json.loads(SCHEMA.read_text(), object_hook=keep)
    assert [one for one in found if "properties" in one and one.get("additionalProperties") is not False] == []


def test_no_other_value_than_those_documented_is_read() -> None:
    # Helm gives nothing for a value that is not there; so each one that templates name has to exist.
    known = set(declared(json.loads(SCHEMA.read_text())))
    text = "".join(template["data"] for template in load_chart().templates)
    read = {f"{path.rstrip('.')}." for path in re.findall(r"\.Values\.([A-Za-z.]+)", text)}
    assert read
    assert {
        path for path in read if not any(f"{one}.".startswith(path) or path.startswith(f"{one}.") for one in known)
    } == set()
