"""An exposition page as tests look at it: samples by name and labels, and the checks that promtool does not make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

Labels = frozenset[tuple[str, str]]
Key = tuple[str, Labels]


@dataclass(frozen=True)
class Page:
    """One answer of ``/metrics``."""

    text: str
    content_type: str

    @property
    def is_openmetrics(self) -> bool:
        return self.content_type.startswith("application/openmetrics-text")

    @cached_property
    def families(self) -> list[Metric]:
        """The page through prometheus_client's parser of its format."""
        if self.is_openmetrics:
            return list(parse_openmetrics(self.text))  # type: ignore[no-untyped-call] # this module of it has no types
        return list(parse_text(self.text))

    @cached_property
    def samples(self) -> dict[Key, float]:
        """All samples; a pair of samples with one name and one set of labels is for :func:`duplicates` to tell."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    @cached_property
    def _by_name(self) -> dict[str, dict[Labels, float]]:
        found: dict[str, dict[Labels, float]] = {}
        for (name, labels), value in self.samples.items():
            found.setdefault(name, {})[labels] = value
        return found

    def rows(self, name: str) -> dict[Labels, float]:
        """The samples of one name by their labels."""
        return self._by_name.get(name, {})

    def get(self, name: str, /, **labels: str) -> float | None:
        """The one sample with exactly these labels, or ``None``."""
        return self.samples.get((name, frozenset(labels.items())))

    def info(self, name: str, /, **labels: str) -> dict[str, str]:
        """All labels of the one sample of ``name`` that has at least these labels."""
        wanted = set(labels.items())
        [found] = [dict(row) for row in self.rows(name) if wanted <= row]
        return found

    def values(self, name: str, label: str) -> set[str]:
        """Every value that ``label`` has in the samples of ``name``."""
        return {value for labels in self.rows(name) for key, value in labels if key == label}

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of ``name`` that have at least these labels."""
        return sum(value for row, value in self.rows(name).items() if set(labels.items()) <= row)


def triples(rows: Iterable[Labels]) -> set[tuple[str, str, str]]:
    """Namespace, pod and container of container rows."""
    found = map(dict[str, str], rows)
    return {(row["namespace"], row["pod"], row["container"]) for row in found}


def duplicates(text: str) -> dict[Key, int]:
    """Samples that are on the page more than once, by the parser that keeps them all: that of the text format."""
    keys = ((one.name, frozenset(one.labels.items())) for family in parse_text(text) for one in family.samples)
    return {key: count for key, count in Counter(keys).items() if count > 1}


def misplaced_families(text: str) -> list[str]:
    """Families whose HELP or TYPE line is missing, or whose samples are not in one block."""
    families = list(parse_text(text))
    blocks = Counter(family.name for family in families)
    bad = {one.name for one in families if not one.documentation or one.type == "unknown" or blocks[one.name] > 1}
    return sorted(bad)
