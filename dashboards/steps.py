"""From which value on a panel is orange, from which red: where the alerts begin."""

from __future__ import annotations

from dashboards.panels import ORANGE, RED
from dashboards.thresholds import THRESHOLDS

HIGH, SEVERE = THRESHOLDS["highRatio"].number, THRESHOLDS["severeRatio"].number
LOST_HIGH, LOST_SEVERE = THRESHOLDS["severeLostSeconds"].number, 5 * THRESHOLDS["severeLostSeconds"].number
STALLED = THRESHOLDS["contentionStalled"].number
FULL = 0.9
"""Of a node's CPUs that its containers use: those that wait there wait for each other."""
NO_LOSS = THRESHOLDS["contentionLostSeconds"].number
RATIO_STEPS = ((HIGH, ORANGE), (SEVERE, RED))
LOST_STEPS = ((LOST_HIGH, ORANGE), (LOST_SEVERE, RED))
SHARE_STEPS = ((THRESHOLDS["highShare"].number, ORANGE), (THRESHOLDS["severeShare"].number, RED))
