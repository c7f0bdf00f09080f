"""The catalogue: loads, and what may come of each: a page, a ticket or nothing.

A load begins after 20 minutes of calm, lasts for an hour, and is followed by 12 more minutes of calm. docs/numbers.md
has the minutes in which each row fires, at each scrape interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.rules.intervals import QUIET_NAMESPACE
from tests.rules.scenario import NODE_1, Labels, Series, Target
from tests.rules.timeline import IDLE, Fired, Life, Second, Trace

HIGH, SEVERE, LOST = "WorkloadCPUThrottled", "WorkloadCPUThrottledSevere", "ThrottleExporterLabelsLost"
MINUTE = 60
BEGIN, END, MINUTES = 20, 80, 92
HALF = (BEGIN + END) // 2 * MINUTE
START, STOP = BEGIN * MINUTE, END * MINUTE
CALM = Second(used=0.3, periods=10)
STOPPED = Second(used=0.5, lost=4.5, periods=10, throttled=10)
"""Ten threads under a limit of half a CPU."""
ONE_THREAD = Second(0.4, 0.6, 10, 10)
SEVENTY = Second(0.4, 0.5, 10, 7)
LATENCY = Second(0.3, 0.192, 10, 2.4)


def always(what: Second) -> Life:
    return lambda _: what


def loaded(what: Second, otherwise: Second = CALM, begin: int = START, end: int = STOP) -> Life:
    """From one second to another."""
    return lambda second: what if begin <= second < end else otherwise


def every(length: int, busy: int, what: Second, otherwise: Second = CALM) -> Life:
    """The first ``busy`` of ``length`` seconds again and again, while the load lasts."""
    return lambda second: (
        what if START <= second < STOP and (second - START) % length < busy else otherwise if second < STOP else CALM
    )


CRON = [
    Trace(always(STOPPED), pod=f"cron-{begin}", kind="CronJob", start=begin, end=begin + 120)
    for begin in range(START, STOP, 180)
]
CRASHES = tuple(range(START, STOP, 400))
UNKNOWN = {"namespace": "monitoring", "pod": "throttle-x", "container": "exporter"}
"""The exporter's own names, as a scrape without honorLabels gives them to each row."""
MOVED = [
    Trace(loaded(STOPPED), end=HALF, uid="one"),
    Trace(loaded(STOPPED), start=HALF, uid="one", target=replace(NODE_1, instance="10.0.0.9:9843")),
]
JVM = [Trace(always(CALM)), Trace(loaded(STOPPED, CALM, START, START + 240), pod="new", start=START)]
RESETS = tuple(range(START, STOP, 1020))
REPLICAS = tuple({"prometheus_replica": name} for name in ("a", "b"))
EXPORTED = [
    Trace(loaded(STOPPED), pod=pod, labels={**UNKNOWN, "exported_pod": pod, "exported_container": "app"})
    for pod in ("web-1", "web-2", "web-3")
]


def sidecar(second: int) -> Second:
    """A limit of 10m, 0.1 CPU seconds every 15 s."""
    return Second(0.01, 0.99, 10, 10) if second % 15 < 10 else IDLE


def rollout(pods: int, wave: int, every_seconds: int = 90) -> list[Trace]:
    """Waves of pods, each throttled for its first 90 s and then replacing an old one."""
    starts = [START + number // wave * every_seconds for number in range(pods)]
    return [
        *(
            Trace(loaded(STOPPED, CALM, start, start + 90), pod=f"new-{n}", start=start)
            for n, start in enumerate(starts)
        ),
        *(Trace(always(CALM), pod=f"old-{n}", end=start + 90) for n, start in enumerate(starts)),
    ]


def stateful_set(step: int) -> list[Trace]:
    """Five pods that start anew on another node under their old names, throttled for 3 minutes, ``step`` s apart."""
    made = []
    for number in range(5):
        end = START + number * step
        old = Trace(always(CALM), pod=f"db-{number}", kind="StatefulSet", end=end)
        life = loaded(STOPPED, CALM, end + 60, end + 240)
        made += [old, replace(old, life=life, start=end + 60, end=None, target=Target(node="node-2"))]
    return made


PAGE, TICKET = frozenset({SEVERE, HIGH}), frozenset({HIGH})
SILENT: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Row:
    """One load, and the alerts that must and may come of it."""

    load: str
    traces: list[Trace]
    must: frozenset[str] = SILENT
    may: frozenset[str] = SILENT
    """Beside those that must."""
    minutes: int = MINUTES
    """Of the test."""
    page_within: int = 7
    """Minutes after the onset."""
    clusters: tuple[str, ...] = ("",)
    node: str | None = "node-1"
    replicas: tuple[Labels, ...] = field(default=({},))
    """Further labels of each Prometheus that scrapes it."""

    def series(self, key: str, scrape: int) -> Iterable[Series]:
        """All of the row, in clusters called ``key``, or ``key/CLUSTER``."""
        for cluster in self.clusters:
            name = f"{key}/{cluster}" if cluster else key
            for labels in self.replicas:
                for trace in self.traces:
                    node = trace.target.node if self.node else ""
                    target = replace(trace.target, cluster=name or None, node=node)
                    yield from replace(trace, target=target, labels={**trace.labels, **labels}).series(
                        self.minutes, scrape
                    )
            build = {**replace(NODE_1, cluster=name or None).labels, "node": self.node or ""}
            yield Series("throttle_exporter_build_info", build, f"1x{self.minutes * 60 // scrape}")


ROWS: Mapping[str, Row] = {
    # ---- pages and tickets ----
    "severe-1": Row("steady: one thread under 0.4 CPUs, every period throttled", [Trace(loaded(ONE_THREAD))], PAGE),
    "severe-10": Row("steady: ten threads under 0.5 CPUs, every period throttled", [Trace(loaded(STOPPED))], PAGE),
    "severe-70": Row("steady: 70 % of periods throttled, share 56 %", [Trace(loaded(SEVENTY))], PAGE),
    "stop-200": Row("fully stopped for 200 s in each 10 minutes", [Trace(every(600, 200, STOPPED))], TICKET),
    "stop-60": Row("fully stopped for 60 s in each 10 minutes", [Trace(every(600, 60, STOPPED))], TICKET),
    "stop-60-1": Row(
        "one thread stopped for 60 s in each 10 minutes", [Trace(every(600, 60, Second(0.3, 0.7, 10, 10)))], TICKET
    ),
    "cron": Row("CronJob pods of 2 minutes every 3 minutes, every period throttled", CRON, TICKET),
    "crash": Row(
        "crash loop: 100 s of 400 s throttled, then a restart",
        [Trace(every(400, 100, STOPPED, IDLE), restarts=CRASHES)],
        TICKET,
    ),
    "latency-20": Row("service: 20 % of periods, 50 ms lost in each", [Trace(loaded(Second(0.3, 0.1, 10, 2)))], TICKET),
    "latency-24": Row("service: 24 % of periods, 80 ms lost in each", [Trace(loaded(LATENCY))], TICKET),
    "batch": Row("batch (Job) that is always throttled", [Trace(loaded(STOPPED), kind="Job")], TICKET),
    "stop-360": Row("fully stopped for 6 minutes in each 10", [Trace(every(600, 360, STOPPED))], PAGE, page_within=12),
    "better-3": Row(
        "every period throttled, but for 3 minutes after half an hour",
        [Trace(lambda second: STOPPED if START <= second < HALF or HALF + 180 <= second < STOP else CALM)],
        PAGE,
    ),
    "beside-sidecar": Row(
        "service: 28 % of periods, 80 ms lost in each, beside a sidecar with a limit of 10m",
        [Trace(loaded(Second(0.3, 0.224, 10, 2.8)), beside={"proxy": sidecar})],
        TICKET,
    ),
    # ---- silent, or a ticket at most ----
    "one-of-20": Row(
        "one of 20 pods: one thread under 0.4 CPUs, every period throttled",
        [Trace(loaded(ONE_THREAD)), *(Trace(always(CALM), pod=f"web-{number}") for number in range(2, 21))],
    ),
    "sidecar": Row(
        "sidecar with a limit of 10m, 0.1 CPU seconds each 15 s", [Trace(always(CALM), beside={"proxy": sidecar})]
    ),
    "tiny": Row("pod with a limit of 10m, 0.1 CPU seconds each 15 s", [Trace(sidecar)]),
    "threads": Row(
        "64 threads under 16 CPUs, 60 % of periods, 2 ms lost in each",
        [Trace(always(Second(16, 6 * 0.002 * 64, 10, 6)))],
    ),
    "burst": Row("burst of 10 s in each 5 minutes, ten threads", [Trace(every(300, 10, Second(1, 9, 10, 10)))]),
    "burst-idle": Row(
        "burst of 10 s in each 5 minutes, else idle", [Trace(every(300, 10, Second(4, 36, 10, 10), IDLE))], may=TICKET
    ),
    "idle": Row("idle container, 3 of 10 periods throttled", [Trace(every(300, 1, Second(0.3, 0.27, 10, 3), IDLE))]),
    "period-10ms": Row("period of 10 ms, 0.03 CPUs used", [Trace(loaded(Second(0.03, 0.07, 100, 70)))], may=TICKET),
    "warm-up": Row("JVM start of 4 minutes, one of two pods", JVM, may=TICKET),
    "rollout-20": Row(
        "roll-out of 20 pods, 5 at a time, each throttled for its first 90 s", rollout(20, 5), may=TICKET
    ),
    "rollout-200": Row(
        "roll-out of 200 pods, 25 at a time, each throttled for its first 90 s",
        rollout(200, 25),
        may=TICKET,
        minutes=40,
    ),
    "restarts-same-name": Row(
        "StatefulSet of 5 on another node with the same names, throttled for 3 minutes each",
        stateful_set(240),
        may=TICKET,
    ),
    "restarts-at-once": Row("the same, all five at once", stateful_set(0), may=TICKET),
    # ---- what happens to series ----
    "resets": Row(
        "counters reset every 17 minutes, every period throttled", [Trace(loaded(STOPPED), restarts=RESETS)], PAGE
    ),
    "new-address": Row("the exporter restarts under a new address after half an hour", MOVED, PAGE),
    "replicas": Row(
        "two replicas of Prometheus, seen by one ruler", [Trace(loaded(ONE_THREAD))], PAGE, replicas=REPLICAS
    ),
    "clusters": Row(
        "two clusters, the same workload in both",
        [Trace(loaded(STOPPED), pod=f"web-{n}") for n in (1, 2)],
        PAGE,
        clusters=("east", "west"),
    ),
    "": Row("no label `cluster`: it is an external label", [Trace(loaded(STOPPED))], PAGE),
    "no-honor-labels": Row("scraped without honorLabels, three pods throttled", EXPORTED, frozenset({LOST})),
    "no-node": Row("scraped without the label `node`", [Trace(loaded(STOPPED))], PAGE | {LOST}, node=None),
    "muted": Row("muted by annotation, every period throttled", [Trace(loaded(STOPPED), threshold=float("inf"))]),
    "muted-batch": Row("CronJob pods muted by annotation", [replace(one, threshold=float("inf")) for one in CRON]),
    "excluded": Row("namespace excluded", [Trace(loaded(STOPPED), namespace=QUIET_NAMESPACE)]),
    "threshold-25": Row("24 % of periods, annotation of 0.25", [Trace(loaded(LATENCY), threshold=0.25)]),
    "threshold-20": Row("24 % of periods, annotation of 0.2", [Trace(loaded(LATENCY), threshold=0.2)], TICKET),
}


def told(fired: Fired) -> str:
    """What fired in words: ``page 6 to +8`` is from the 6th minute of the load until the 8th after its end."""
    names = {SEVERE: "page", HIGH: "ticket"}
    parts = []
    for name in sorted(fired, reverse=True):
        stretches = [f"{_minute(begin)} to {_minute(end)}" for begin, end in fired[name]]
        parts.append(f"{names.get(name, name)} {', '.join(stretches)}")
    return "; ".join(parts) or "silent"


def _minute(minute: int) -> str:
    if minute > MINUTES:
        return "the end"
    return f"+{minute - END}" if minute > END else str(minute - BEGIN)
