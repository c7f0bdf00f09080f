"""Who took this container's CPU: pure functions of a snapshot, each with a name, its numbers and an advice.

A finding never rests on an absent value: what is not known is left out, and then the finding is not made.
"""

from exporter.analysis.findings.find import find, find_for
from exporter.analysis.findings.finding import Finding, Severity
from exporter.analysis.findings.table import RULES, Rule

__all__ = ["RULES", "Finding", "Rule", "Severity", "find", "find_for"]
