"""Thresholds of the findings: each number with its unit and the reason for it.

Rates are per second of wall time; a share is of 1. None of them is an alert's threshold: those live with the alerts.
"""

from __future__ import annotations

MIN_SECONDS = 1.0  # below, a rate is made of a few ticks of 10 ms and of who was read first
DRIFT_RATIO = 0.01  # share of the spec's limit by which the cgroup's may differ: integer quotas, and drivers that round
THROTTLED_RATIO = 0.25  # share of active periods, as in the kubernetes-mixin's alert and its users' dashboards
# Share of wall time in throttled periods: one of 100 ms in two seconds. Below, a ratio of 3 periods in 10 is an idle
# container that woke up three times.
STOPPED_SHARE = 0.05
MIN_THROTTLED_PERIODS = 3  # a container's own start throttles it once or twice
CRITICAL_SHARE = 0.5  # of active periods and of wall time: it is stopped more often than it runs
# Use divided by limit, within one sample interval. A group that really needs its whole limit reaches 0.9 to 1.0 of it
# while throttled; up to 5 ms a period of quota may be stranded in slices.
BELOW_LIMIT = 0.7
BELOW_LIMIT_PERIODS = 0.5  # share of the throttled periods that must lie in such intervals: then bursts are the rule
SHORT_PERIOD_SECONDS = 0.02  # four slices of 5 ms: below, one CPU's slice is most of a small limit's quota
ANCESTOR_LOST = 0.05  # seconds per second lost to an ancestor's quota; as STOPPED_SHARE
# Share of its pod's use below which a container is not counted among those that a pod's quota stops: where only the
# pod's file tells, nothing says which of its containers wanted to run.
ANCESTOR_USE = 0.1
WAITING_RATE = 0.05  # of waiting for a CPU that no quota caused; a half busy node shows less
WAITING_SHARE = 0.2  # waiting / (waiting + running, as wall time): every request takes a quarter longer
# Busy share of its CPUs below which no shortage made it wait, but wake-ups, threads pinned to one of them, or a
# hypervisor that counts no steal.
ROOM = 0.5
WAITING_RATE_WITH_ROOM = 0.25  # for those: on three CPUs of an emulator, a third busy, 5 ms of work waited for 25 ms
NEIGHBOUR_USE = 0.1  # share of its CPUs that its neighbours together, or all that is no container, must use to be named
MAX_NEIGHBOURS = 5  # named in one finding
# Share of what all others use of its CPUs from which on one of them is named. Below, it is one of many who each use
# little: five containers of 0.13 CPUs are no noisy neighbours.
NAMED_SHARE = 0.25
# Share of a CPU's time that a request has to give it. Of the two conversions of requests to v2 weights, the newer
# flattens ratios: nine tenths are left, half of WAITING_SHARE.
ENOUGH_WEIGHT = 0.95
SATURATED = 0.95  # busy share of a CPU from which on it is full
EXPLAINED = 0.5  # share of the waiting that the largest taker's CPU time must explain to be named
TICK_ERROR = 0.35  # CPUs by which busy time from ticks may be off: a task in phase reads 0.52 or 0.004 for 0.2
MIN_USE = 0.01  # cores below which a container is taken to sleep, and so to miss nothing
# Share of a CPU's window that its owner's must cover before the two are compared: a young container's CPUs may have
# been busy for somebody else before it came.
SAME_WINDOW = 0.98
DISTURBED = 0.05  # busy cores per owned CPU beyond its owner's use; ticks of 10 ms leave 1 to 2 % in a minute's window
INTERRUPT_SHARE = 0.5  # share of the disturbance from which on interrupts are named as its cause
OVER_ASKED = 1.0  # cores from which on a Guaranteed container with a fraction is taken to have wanted CPUs of its own
OVER_LIMIT = 1.2  # use divided by limit from which on the limit does not bind
MIN_OVER_LIMIT_SECONDS = 10.0  # of epoch, to judge that: quota left on CPUs and a late read are a few periods
UNBOUNDED_SHARE = 0.6  # share of its CPUs' time that an unlimited container must use: two equal contenders have 0.5
STEAL_SHARE = 0.05  # share of the node's CPU time; cloud vendors call 5 to 10 % the point of moving
CRITICAL_STEAL_SHARE = 0.2  # a fifth of the CPUs that were paid for
