"""Names that moved to :mod:`exporter.report.summary`."""

from exporter.report.summary import impact, lost_seconds_per_second, rank, throttled_ratio

__all__ = ["impact", "lost_seconds_per_second", "rank", "throttled_ratio"]
