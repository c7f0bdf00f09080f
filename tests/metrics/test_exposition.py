"""The page, byte for byte as prometheus_client writes the same data, whatever was on the page before."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from zlib import MAX_WBITS, decompressobj

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.utils import floatToGoString
from typing_extensions import override

from exporter.errors import ExporterError
from exporter.metrics.catalog import CATALOG
from exporter.metrics.exposition import (
    CHUNK_ROWS,
    Format,
    Renderer,
    Zipper,
    escape_label,
    format_value,
    head,
    label_block,
)
from exporter.model import CgroupRow, Snapshot
from tests.metrics import reference
from tests.metrics.strategies import numbers, rows_of, snapshots, texts
from tests.support.pages import duplicates, misplaced_families
from tests.support.snapshots import container, node

COLLECTORS = frozenset(metric.collector for metric in CATALOG if metric.collector)
both_formats = pytest.mark.parametrize("style", ["text", "openmetrics"])


def snapshot(*containers: CgroupRow, version: int = 1, pods: tuple[CgroupRow, ...] = ()) -> Snapshot:
    return Snapshot(0.0, 1, version, containers, pods, node())


@both_formats
@settings(max_examples=60)
@given(found=snapshots)
def test_page_is_the_one_prometheus_client_writes(style: Format, found: Snapshot) -> None:
    assert Renderer(COLLECTORS).render(found, style) == reference.page(found, COLLECTORS, style)


@both_formats
@settings(max_examples=25)
@given(found=snapshots, collectors=st.frozensets(st.sampled_from(sorted(COLLECTORS))))
def test_a_collector_that_is_off_costs_its_families_and_no_other(
    style: Format, found: Snapshot, collectors: frozenset[str]
) -> None:
    assert Renderer(collectors).render(found, style) == reference.page(found, collectors, style)


@settings(max_examples=25)
@given(pages=st.lists(snapshots, min_size=1, max_size=4))
def test_gzip_of_pages_one_after_the_other_is_each_of_them(pages: list[Snapshot]) -> None:
    renderer, zipper = Renderer(COLLECTORS), Zipper()
    for version, found in enumerate(pages):
        families = renderer.families(replace(found, settings_version=version), "text")
        for number in 1, 2:  # the second time nothing but the end is new
            wanted = [*families, [b"own %d\n" % number]]
            reader = decompressobj(MAX_WBITS | 16)  # of one member
            assert reader.decompress(zipper.zip(wanted)) == b"".join(chain.from_iterable(wanted))
            assert (reader.eof, reader.unused_data) == (True, b"")


@given(numbers)
def test_any_number_is_written_as_prometheus_client_does(number: float) -> None:
    write: object = floatToGoString(number)  # type: ignore[no-untyped-call] # this function of it has no types
    assert format_value(number) == write


@given(texts)
def test_any_label_value_can_be_read_back(value: str) -> None:
    text = f'# TYPE x gauge\nx{{a="{escape_label(value)}"}} 1.0\n'
    [family] = text_string_to_metric_families(text)
    assert [sample.labels for sample in family.samples] == [{"a": value}]


@settings(max_examples=40)
@given(found=snapshots)
def test_no_sample_is_on_a_page_twice_and_every_family_is_in_one_place(found: Snapshot) -> None:
    text = Renderer(COLLECTORS).render(found, "text").decode()
    assert duplicates(text) == {}
    assert misplaced_families(text) == []


# ---- One renderer, many pages ----


@settings(max_examples=25)
@given(
    pages=st.lists(snapshots, min_size=1, max_size=4),
    order=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(("text", "openmetrics"))), max_size=8),
)
def test_a_page_does_not_depend_on_the_pages_before(pages: list[Snapshot], order: list[tuple[int, Format]]) -> None:
    renderer = Renderer(COLLECTORS)
    for number, style in order:
        index = number % len(pages)
        found = replace(pages[index], settings_version=index)
        assert renderer.render(found, style) == Renderer(COLLECTORS).render(found, style)


def moved(row: CgroupRow, other: CgroupRow) -> CgroupRow:
    """``row`` after a tick that changed no setting: counters, windows and pressure of ``other``."""
    return row._replace(
        stat=other.stat,
        local_throttled_seconds=other.local_throttled_seconds,
        pressure=other.pressure,
        window=other.window,
        distribution=other.distribution,
    )


@settings(max_examples=25)
@given(found=snapshots, ticks=st.lists(st.lists(rows_of(texts), min_size=3, max_size=3), max_size=2))
def test_counters_move_while_settings_stay(found: Snapshot, ticks: list[list[CgroupRow]]) -> None:
    renderer = Renderer(COLLECTORS)
    renderer.render(found, "text")
    for later in ticks:
        found = replace(
            found,
            containers=tuple(map(moved, found.containers, later)),
            pods=tuple(map(moved, found.pods, later)),
        )
        for style in ("text", "openmetrics"):
            assert renderer.render(found, style) == Renderer(COLLECTORS).render(found, style)


# ---- What is on it ----


def test_only_rows_that_are_new_objects_are_rendered_again() -> None:
    seen: list[str] = []

    class Seen(CgroupRow):
        @property
        @override
        def counts_periods(self) -> bool:
            seen.append(self.pod)
            return super().counts_periods

    rows = [Seen._make(container(f"pod-{number}")) for number in range(3 * CHUNK_ROWS)]
    renderer = Renderer({"throttle"})
    first = renderer.render(snapshot(*rows), "text")
    asked = seen.count(rows[0].pod)
    assert asked > 0
    seen.clear()
    assert renderer.render(snapshot(*rows), "text") == first
    assert seen == []
    rows[1] = rows[1]._replace(stat=rows[1].stat._replace(periods=77))
    assert renderer.render(snapshot(*rows), "text") != first
    assert seen == [row.pod for row in rows[:CHUNK_ROWS]] * asked


def test_labels_are_never_dropped_nor_invented() -> None:
    assert label_block(("pod", "a"), ("x", "y")) == '{a="y",pod="x"}'
    assert label_block((), ()) == ""
    for values in (("x",), ("x", "y", "z")):
        with pytest.raises(ValueError, match="zip"):
            label_block(("pod", "a"), values)


def test_half_a_surrogate_pair_in_a_name_costs_nobody_the_page() -> None:
    # What os.listdir makes of bytes that are no UTF-8, and what JSON may spell.
    text = Renderer(COLLECTORS).render(snapshot(container("web-\udcff"), container("api")), "text").decode()
    assert 'pod="web-?"' in text
    assert 'pod="api"' in text


@pytest.mark.parametrize(
    ("kind", "style", "lines"),
    [
        ("counter", "text", '# HELP x_total Say \\\\ and \\n and ".\n# TYPE x_total counter\n'),
        ("counter", "openmetrics", '# HELP x Say \\\\ and \\n and \\".\n# TYPE x counter\n'),
        ("info", "text", '# HELP x_info Say \\\\ and \\n and ".\n# TYPE x_info gauge\n'),
        ("info", "openmetrics", '# HELP x Say \\\\ and \\n and \\".\n# TYPE x info\n'),
        ("gauge", "text", '# HELP x Say \\\\ and \\n and ".\n# TYPE x gauge\n'),
        ("gauge", "openmetrics", '# HELP x Say \\\\ and \\n and \\".\n# TYPE x gauge\n'),
    ],
)
def test_head_of_a_family(kind: str, style: Format, lines: str) -> None:
    name = {"counter": "x_total", "info": "x_info"}.get(kind, "x")
    assert head(name, kind, 'Say \\ and \n and ".', style) == lines


def test_a_value_that_cannot_be_written_costs_its_own_family_and_is_counted() -> None:
    healthy = container("web", limit=1.0)
    assert healthy.identity is not None
    sick = healthy._replace(identity=replace(healthy.identity, restart_count=10**400))
    errors: list[ExporterError] = []

    page = Renderer({"info", "usage", "limits"}, on_error=errors.append).render(snapshot(sick), "text")

    assert b"cgroup_container_cpu_limit_cores{" in page
    assert b"restarts_total" not in page
    assert [(error.stage, error.reason) for error in errors] == [("render", "value")]


@pytest.mark.parametrize("fault", [MemoryError, RuntimeError])
def test_nothing_is_kept_of_a_page_that_was_not_finished(fault: type[Exception]) -> None:
    faults = [fault()]

    def on_error(_: ExporterError) -> None:
        if faults:
            raise faults.pop()

    rows = [container(f"web-{number}") for number in range(4 * CHUNK_ROWS)]
    renderer = Renderer(COLLECTORS, on_error=on_error)
    renderer.render(snapshot(*rows), "text")
    counted, sick = (rows[at]._replace(stat=rows[at].stat._replace(throttled_periods=77)) for at in (0, -1))
    found = snapshot(counted, *rows[1:-1], sick._replace(stat=sick.stat._replace(periods=10**400)))
    with pytest.raises(fault):
        renderer.render(found, "text")
    assert renderer.render(found, "text") == Renderer(COLLECTORS).render(found, "text")


def test_a_fault_in_a_metric_costs_its_own_family() -> None:
    errors: list[ExporterError] = []
    sick = container("web", limit=1.0)._replace(pressure="none")  # type: ignore[arg-type] # as a fault in a reader would
    page = Renderer(COLLECTORS, on_error=errors.append).render(snapshot(sick), "text")
    assert b"cgroup_container_cpu_limit_cores{" in page
    assert {(error.stage, error.reason) for error in errors} == {("render", "value")}
