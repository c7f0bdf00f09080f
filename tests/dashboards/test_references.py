"""No rule, panel or page names a metric or a label that does not exist."""

import re
from collections.abc import Iterator

import pytest

from dashboards.rules import ROOT
from tests.dashboards.boards import boards, label_values, queries, variables
from tests.dashboards.known import OUTSIDERS, all_labels, labels_of, metrics, recorded, rules
from tests.dashboards.promql import references

CHART = ROOT / "charts" / "kube-throttle-exporter"
DOCS = [*(ROOT / "docs").rglob("*.md"), *(folder / "README.md" for folder in (ROOT, CHART)), *CHART.rglob("NOTES.txt")]
OURS = re.compile(r"(?<![\w:/.-])(?:\w+:)?(?:cgroup_(?:container|pod|node)|throttle_exporter)_\w+(?::\w+)?")


def mistakes(where: str, expression: str) -> Iterator[str]:
    found = references(expression)
    assert found.matched, f"{where}: no metric found in {expression}"
    for name, labels in found.matched:
        known = _labels(name)
        if known is None:
            yield f"{where}: no metric {name}"
        else:
            yield from (f"{where}: {name} has no label {label}" for label in labels - known)
    yield from (f"{where}: nothing has a label {label}" for label in found.joined - all_labels())


def _labels(name: str) -> frozenset[str] | None:
    if (known := labels_of(name)) is not None:
        return known
    matching = [other for other in (*metrics(), *recorded()) if re.fullmatch(name, other)]
    return frozenset.intersection(*(labels for other in matching if (labels := labels_of(other)))) if matching else None


def test_rules_and_dashboards_name_what_exists() -> None:
    asked = [(rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()]
    asked += [(f"{board}: {where}", expr) for board, where, expr in queries()]
    asked += asked_by_templates()
    assert len(asked) > 150
    assert [mistake for where, expr in asked for mistake in mistakes(where, expr)] == []


def asked_by_templates() -> list[tuple[str, str]]:
    """Queries in the texts of alerts."""
    asked = [
        (rule["alert"], text.replace("%q", '""'))
        for rule in rules()
        for annotation in rule.get("annotations", {}).values()
        for text in re.findall(r'printf\s+"([^"]*\{[^"]*\}[^"]*)"', annotation)
    ]
    assert asked
    return asked


def test_templates_of_alerts_use_labels_that_exist() -> None:
    # What an alert of each kind carries is in its test; here: that nobody mistypes one.
    texts = ((rule.get("alert"), str(rule.get("annotations"))) for rule in rules())
    used = {(alert, label) for alert, text in texts for label in re.findall(r"\$labels\.(\w+)", text)}
    assert len(used) > 20
    assert {(alert, label) for alert, label in used if label not in all_labels()} == set()


def test_variables_take_their_values_from_labels_that_exist_and_are_declared() -> None:
    used = {(board, name) for board, _, expr in queries() for name in re.findall(r"\$\{?([a-z]\w*)", expr)}
    assert used
    for board, content in boards().items():
        declared = {item["name"] for item in content["templating"]["list"]}
        assert {name for where, name in used if where == board} <= declared, board
        for selector, label in map(label_values, variables(content)):
            assert all(label in (labels_of(name) or ()) for name in references(selector).metrics), (board, label)


def test_documents_name_what_exists() -> None:
    known = {*metrics(), *recorded(), *OUTSIDERS}
    for path in DOCS:
        named = set(OURS.findall(path.read_text(encoding="utf-8"))) - known
        # A name may stand for its histogram, its counter without _total, or a family as in cgroup_container_...
        assert {name for name in named if not any(other.startswith(name) for other in known)} == set(), path


def test_what_the_page_on_scale_drops_is_read_by_nobody() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    [dropped] = re.findall(r"regex: (cgroup_container_\S+)\n\s+action: drop", page)
    read = {name for _, _, expr in queries() for name in references(expr).metrics}
    read |= {name for rule in rules() for name in references(rule["expr"]).metrics}
    read |= {name for _, text in asked_by_templates() for name in references(text).metrics}
    gone = {name for name in metrics() if re.fullmatch(dropped, name)}
    assert len(gone) > 6
    assert {name for name in gone if any(re.fullmatch(pattern, name) for pattern in read)} == set()


@pytest.mark.parametrize(
    ("expression", "matched", "joined"),
    [
        ("up", [("up", set())], set()),
        ('up{job="a"} == 0', [("up", {"job"})], set()),
        ('sum by (x, y) (rate(a_total{b=~"c",d!="e"}[5m]))', [("a_total", {"b", "d"})], {"x", "y"}),
        ("sum(rate(a_total[5m])) by (x)", [("a_total", set())], {"x"}),
        ("a * on (x) group_left (y) b:c:d", [("a", set()), ("b:c:d", set())], {"x", "y"}),
        ('a{b="c, d{e}"} unless f == Inf # g', [("a", {"b"}), ("f", set())], set()),
        ('count({__name__=~"a|b",c="d"})', [("a|b", {"c"})], set()),
        ("topk(5, a offset 5m) > 0.5 and b", [("a", set()), ("b", set())], set()),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket{b='c'}[$__x])))", [("a_bucket", {"b"})], {"le"}),
        ('a{\n  b=~\n    "c" # d\n}', [("a", {"b"})], set()),
    ],
)
def test_an_expression_is_read(expression: str, matched: list[tuple[str, set[str]]], joined: set[str]) -> None:
    assert references(expression) == (matched, joined)
