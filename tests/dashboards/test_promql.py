"""The reader of expressions finds what the lints must not miss."""

import pytest

from tests.dashboards.promql import references


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
        (
            "histogram_quantile(0.9, sum by (le) (rate(a_bucket{b='c'}[$__rate_interval])))",
            [("a_bucket", {"b"})],
            {"le"},
        ),
        ('a{\n  b=~\n    "c" # d\n}', [("a", {"b"})], set()),
    ],
)
def test_references(expression: str, matched: list[tuple[str, set[str]]], joined: set[str]) -> None:
    found = references(expression)
    assert found.matched == matched
    assert found.joined == joined
