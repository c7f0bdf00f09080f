"""Renders a snapshot in the Prometheus text format and in OpenMetrics, byte for byte as prometheus_client does.

``generate_latest`` builds an object for each sample (5 us each, 54 ms for 11,250 samples). Here the label block of a
row is escaped once and each sample is one string; a property test compares both, in both formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import ceil
from struct import pack
from typing import Any, Literal
from zlib import DEFLATED, MAX_WBITS, Z_FULL_FLUSH, compressobj, crc32

from prometheus_client.utils import floatToGoString

from exporter.analysis.isolation import reserved_cpus
from exporter.errors import ExporterError, RenderError
from exporter.metrics.catalog import CADVISOR_FAMILIES, FAMILIES
from exporter.metrics.metric import LABELS, Family, Labels, RowType
from exporter.model import RATIO_BUCKETS, CgroupName, CgroupRow, NodeRow, Snapshot

Format = Literal["text", "openmetrics"]
Block = tuple[str, Any]  # a row and its label block
_CGROUPS = frozenset[RowType](("container", "pod", "cadvisor"))
CHUNK_ROWS = 4  # rows whose lines of one family are kept together: fewer are rendered again, more take less memory

GZIP_LEVEL = 1  # 3 MB take 15 ms, and 60 ms at level 6, for a tenth more bytes
_GZIP_HEADER, _LAST_BLOCK = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x03\0"
"""Of RFC 1952, without a name and a time; of RFC 1951, an empty one."""

_go_float: Callable[[float], str] = floatToGoString
_PLAIN_FLOAT = 1e6  # below it (and above 1e-5) repr writes a float as Prometheus' Go does


def escape_label(value: str) -> str:
    """Return a label value escaped for use between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def label_block(names: Labels, values: Sequence[str]) -> str:
    """Return ``{a="1",b="2"}``, escaped, sorted by name as prometheus_client does; empty without labels.

    A wrong number of values raises ValueError: dropped labels would merge series.
    """
    pairs = sorted(zip(names, values, strict=True))
    return "{" + ",".join([f'{name}="{escape_label(value)}"' for name, value in pairs]) + "}" if pairs else ""


def format_value(value: float) -> str:
    """Return a sample's value as prometheus_client writes it."""
    return repr(float(value)) if -_PLAIN_FLOAT < value < _PLAIN_FLOAT else _go_float(value)


def _cadvisor_labels(row: CgroupRow) -> Labels:
    """A pod's own cgroup has no container and no name."""
    image = row.identity.image if row.identity else ""
    return (row.container or "", f"/{row.ref.path}", image, row.ref.container_id or "", row.namespace, row.pod)


LABEL_VALUES: Mapping[RowType, Callable[[Any], Labels]] = {
    "container": lambda row: row[:3],
    "pod": lambda row: row[:2],
    "node": lambda _: (),
    "pool": lambda row: row[:1],
    "cpu": lambda row: row,
    "cadvisor": _cadvisor_labels,
}
"""Values of :data:`LABELS`."""


class Renderer:
    """Renders pages, and keeps what did not change: label blocks until ``settings_version`` changes, lines by the row.

    Not thread-safe. Two snapshots of one ``settings_version`` have the same rows in the same order; a row is the same
    object while nothing of it has changed.
    """

    def __init__(
        self,
        collectors: Iterable[str],
        *,
        cadvisor_names: bool = False,
        on_error: Callable[[ExporterError], None] = lambda _error: None,
    ) -> None:
        enabled = frozenset(collectors)
        self._families = [f for f in FAMILIES if f.metric.collector is None or f.metric.collector in enabled]
        self._families += CADVISOR_FAMILIES if cadvisor_names else ()
        self._on_error = on_error
        self._rows: Mapping[RowType, Sequence[Any]] = {}
        self._blocks: dict[RowType, list[Block]] = {}
        self._chunks: dict[str, list[bytes]] = {}
        self._version = -1

    def render(self, snapshot: Snapshot, style: Format) -> bytes:
        """Return the page without the exporter's own metrics and without OpenMetrics' end mark."""
        return b"".join(chain.from_iterable(self.families(snapshot, style)))

    def families(self, snapshot: Snapshot, style: Format) -> list[list[bytes]]:
        """Return the page in encoded pieces by family, so that 10 MB are in memory once and never as text."""
        before, self._rows = self._rows, rows_of(snapshot)
        version, self._version = self._version, -1  # of a page that is not finished, nothing is kept
        if snapshot.settings_version != version:
            self._chunks.clear()
            self._blocks.clear()
        used = dict.fromkeys(family.row_type for family in self._families)
        stale = {row_type: self._stale(row_type, before.get(row_type, ())) for row_type in used}
        families: list[list[bytes]] = []
        for family in self._families:
            chunks = self._chunks.get(family.name)
            if chunks is None or not family.cacheable:
                chunks = self._renewed(family, chunks, *stale[family.row_type])
            if any(chunks):
                families.append([head(family.name, family.metric.kind, family.metric.help, style).encode(), *chunks])
        self._version = snapshot.settings_version
        return families

    def _stale(self, row_type: RowType, before: Sequence[Any]) -> tuple[Sequence[int] | None, Sequence[Block]]:
        """Take over the rows of this page; return the chunks in which one has changed and their rows; ``None``: all."""
        rows, blocks = self._rows[row_type], self._blocks.get(row_type)
        if blocks is None or row_type not in _CGROUPS:
            names, values_of = LABELS[row_type], LABEL_VALUES[row_type]
            self._blocks[row_type] = blocks = [(label_block(names, values_of(row)), row) for row in rows]
            return range(ceil(len(rows) / CHUNK_ROWS)) if row_type in _CGROUPS else None, blocks
        changed = [number for number, (old, new) in enumerate(zip(before, rows, strict=True)) if old is not new]
        if len(changed) > len(rows) / 2:
            self._blocks[row_type] = blocks = [(pair[0], row) for pair, row in zip(blocks, rows, strict=True)]
            return None, blocks
        for number in changed:
            blocks[number] = (blocks[number][0], rows[number])
        numbers = sorted({number // CHUNK_ROWS for number in changed})
        if len(numbers) * CHUNK_ROWS > len(rows) / 2:
            return None, blocks
        return numbers, [pair for at in numbers for pair in blocks[at * CHUNK_ROWS : (at + 1) * CHUNK_ROWS]]

    def _renewed(
        self, family: Family, chunks: list[bytes] | None, numbers: Sequence[int] | None, rows: Sequence[Block]
    ) -> list[bytes]:
        """Return the family's chunks, those with these numbers and rows rendered again; one where all rows are."""
        size, is_kept = CHUNK_ROWS, family.cacheable or numbers is not None
        if chunks is None or numbers is None:
            rows = self._blocks[family.row_type]
            if family.cacheable or numbers is None:
                size = len(rows) or 1
            numbers = range(ceil(len(rows) / size))
            chunks = [b""] * len(numbers)
        try:
            lines = list(_samples(family, rows))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # An error in one family or one value must not fail the others.
            self._on_error(RenderError(f"{family.name}: {type(error).__name__}", reason="value"))
            self._chunks.pop(family.name, None)
            return []
        if family.row_type in _CGROUPS and not family.metric.lingers:
            # Counters and names of a removed container stay, to be scraped once more; its gauges are no longer true.
            lines = [line if pair[1].live else "" for line, pair in zip(lines, rows, strict=True)]
        for place, number in enumerate(numbers):
            # A name may hold bytes that are not UTF-8; they must not fail the page.
            text = "".join(lines[place * size : (place + 1) * size])
            chunks[number] = text.encode(errors="replace")
        if is_kept:
            self._chunks[family.name] = chunks
        else:
            self._chunks.pop(family.name, None)
        return chunks


class Zipper:
    """Makes gzip of pages; a family that is the same as in the last page is not compressed again.

    A page is one member, as few clients read on behind the first: its families are deflated apart, to whole bytes.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[list[bytes], bytes]] = {}

    def zip(self, families: Iterable[list[bytes]]) -> bytes:
        """Return the gzip of pieces by family, the first of which tells it from the others."""
        before, self._kept = self._kept, {}
        crc = size = 0
        stream = [_GZIP_HEADER]
        for parts in families:
            text = b"".join(parts)
            crc, size = crc32(text, crc), size + len(text)
            kept = before.get(parts[0])
            if kept is None or kept[0] != parts:
                deflate = compressobj(GZIP_LEVEL, DEFLATED, -MAX_WBITS)
                kept = parts, deflate.compress(text) + deflate.flush(Z_FULL_FLUSH)
            self._kept[parts[0]] = kept
            stream.append(kept[1])
        return b"".join((*stream, _LAST_BLOCK, pack("<II", crc, size % 2**32)))


def head(name: str, kind: str, text: str, style: Format) -> str:
    """Return the HELP and TYPE lines of a family."""
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    if style == "openmetrics":
        text = text.replace('"', r"\"")
        name = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
    elif kind == "info":
        kind = "gauge"
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _samples(family: Family, rows: Sequence[Block]) -> Iterable[str]:
    """Return the lines of each row: empty without a value."""
    name, metric = family.name, family.metric
    value_of = metric.value
    if metric.is_histogram:
        return _histograms(family, rows)
    if metric.labels:
        return _labelled(family, rows)
    # format_value, inlined: this line runs twenty thousand times a page.
    return [
        f"{name}{block} {repr(float(v)) if -_PLAIN_FLOAT < v < _PLAIN_FLOAT else _go_float(v)}\n"
        if (v := value_of(row)) is not None
        else ""
        for block, row in rows
    ]


def _labelled(family: Family, rows: Sequence[Block]) -> Iterator[str]:
    values_of, metric = LABEL_VALUES[family.row_type], family.metric
    for _, row in rows:
        value, own = metric.value(row), [label(row) for label in metric.labels.values()]
        known = [one for one in own if one is not None]
        if value is None or len(known) < len(own):
            yield ""
        else:
            yield f"{family.name}{label_block(family.labels, (*values_of(row), *known))} {format_value(value)}\n"


def _histograms(family: Family, rows: Sequence[Block]) -> Iterator[str]:
    name, names = family.name, LABELS[family.row_type]
    bounds = [*map(format_value, RATIO_BUCKETS), "+Inf"]
    for block, row in rows:
        lines = ""
        if row.distribution is not None:
            counts, total = row.distribution
            for bound, count in zip(bounds, (*counts, counts[-1]), strict=True):
                labels = label_block((*names, "le"), (*LABEL_VALUES[family.row_type](row), bound))
                lines += f"{name}_bucket{labels} {format_value(count)}\n"
            lines += f"{name}_count{block} {format_value(counts[-1])}\n{name}_sum{block} {format_value(total)}\n"
        yield lines


def rows_of(snapshot: Snapshot) -> Mapping[RowType, Sequence[Any]]:
    """Return everything that has samples, by row type."""
    node = snapshot.node
    return {
        "container": snapshot.containers,
        "pod": snapshot.pods,
        "cadvisor": (*snapshot.containers, *snapshot.pods),
        "node": (node,),
        "pool": _pools(node),
        "cpu": _assignments(node),
    }


def _pools(node: NodeRow) -> list[tuple[str, int]]:
    """Return each state of CPUs and their number, as far as known."""
    known = {"online": node.online_cpus, "reserved": reserved_cpus(node.kubelet) or None}
    if node.shared_cpus is not None:
        known |= {"exclusive": frozenset(node.owners), "shared": node.shared_cpus}
    order = ("online", "exclusive", "shared", "reserved")
    return [(state, len(cpus)) for state in order if (cpus := known.get(state)) is not None]


def _assignments(node: NodeRow) -> list[Labels]:
    """Return the label values of each online CPU: itself, its NUMA node, its owner; none while cpusets are unknown."""
    if node.shared_cpus is None or node.online_cpus is None:
        return []
    nobody = CgroupName("", "", "")
    return [
        (str(cpu), str(node.numa_node.get(cpu, "")), *node.owners.get(cpu, nobody)) for cpu in sorted(node.online_cpus)
    ]
