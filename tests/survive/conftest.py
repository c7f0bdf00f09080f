"""The fault matrix is shown at the end of the run that filled it."""

from __future__ import annotations

import pytest

from tests.survive.matrix import RECORD, Cell, table


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(RECORD, [])


@pytest.fixture
def cells(pytestconfig: pytest.Config) -> list[Cell]:
    """Where each cell is written down."""
    return pytestconfig.stash.setdefault(RECORD, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(RECORD, [])
    if found:
        terminalreporter.section("fault matrix")
        for line in table(found):
            terminalreporter.write_line(line)
