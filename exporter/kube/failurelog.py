"""One line when something begins to fail, one now and then while it goes on, one when it works again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from exporter.errors import MappingError

_REMINDER_SECONDS = 600.0

_log = logging.getLogger(__name__)


class FailureLog:
    """Of one thing that is tried again and again."""

    def __init__(self, what: str, clock: Callable[[], float]) -> None:
        self._what = what
        self._clock = clock
        self._reason: str | None = None
        self._failures = 0
        self._logged_at = 0.0

    def failed(self, error: MappingError) -> None:
        """Logs what is new: another reason, or the same one for another ten minutes."""
        self._failures += 1
        # What failed, and why, is part of the template: log lines of one template are written twice a minute at most.
        if error.reason != self._reason:
            template = f"{self._what} failed ({error.reason}): %s"
        elif self._clock() - self._logged_at >= _REMINDER_SECONDS:
            template = f"{self._what} still fails, {self._failures} times in a row ({error.reason}): %s"
        else:
            return
        _log.warning(template, error)
        self._reason = error.reason
        self._logged_at = self._clock()

    def worked(self) -> None:
        """Logs the end of a row of failures."""
        if self._failures:
            _log.info("%s works again after %d failures", self._what, self._failures)
        self._reason = None
        self._failures = 0
