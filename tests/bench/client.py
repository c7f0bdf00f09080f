"""``python -m tests.bench.client SAMPLES``: what prometheus_client's own rendering of a page costs, one at each line.

A process of its own, which answers with CPU milliseconds: its hundred thousand objects are not the exporter's to
collect, and it can be asked in turn with the exporter's pages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

FAMILIES = 27
"""About as many as the exporter's page has."""


class Fixed(Collector):
    """Samples with labels like the exporter's, made anew for each page as an exporter on the client would."""

    def __init__(self, samples: int) -> None:
        self._each = max(1, samples // FAMILIES)

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        for number in range(FAMILIES):
            family = GaugeMetricFamily(f"family_{number}", "Help.", labels=("namespace", "pod", "container"))
            for one in range(self._each):
                family.add_metric(("team-1", f"service-{one}-6c8f7b9d5-x", "app"), one * 1.5)
            yield family


def main(samples: int) -> None:
    """Until the input ends."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(samples))
    generate_latest(registry)
    for _ in sys.stdin:
        start = time.process_time()
        generate_latest(registry)
        sys.stdout.write(f"{(time.process_time() - start) * 1000:.3f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
