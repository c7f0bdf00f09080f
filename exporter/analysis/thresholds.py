"""Every number the verdicts rest on: its unit, and why it is that number.

Rates are per second of wall time; a share is of 1. None of them is an alert's threshold: those live with the alerts.
"""

from __future__ import annotations

DRIFT_RATIO = 0.01
"""Share of the spec's limit by which the cgroup's may differ: integer quotas, and drivers that round."""
