"""What every test may use: programs that may be missing, generated files, a watch over the event loop."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from difflib import unified_diff
from itertools import islice
from pathlib import Path
from typing import NoReturn

import pytest
from blockbuster import BlockBuster
from hypothesis import settings

from tests.support.unit import GUARD

CI = os.environ.get("CI", "") not in {"", "0", "false"}

# Bounds on time belong to bench: on a busy machine any example may take a second. While working half of them will do.
settings.register_profile("project", deadline=None, max_examples=100 if CI else 50)
settings.load_profile("project")


def unavailable(reason: str) -> NoReturn:
    """Skips the test for want of something outside this repository; with CI=true that is a failure."""
    if CI:
        pytest.fail(f"{reason}, and CI=true allows no skipping", pytrace=False)
    pytest.skip(reason)


def needs(program: str) -> str:
    """The path of a program from the table in .ci/packages, or the end of this test."""
    return shutil.which(program) or unavailable(f"needs {program}, see .ci/packages")


Generated = Callable[[Path, str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(GUARD)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write generated files instead of comparing with them")


@pytest.fixture
def generated(request: pytest.FixtureRequest) -> Generated:
    """Compares a file of the repository with the text it is generated from, or writes it with --regenerate."""
    regenerate: bool = request.config.getoption("--regenerate")

    def compare(path: Path, text: str) -> None:
        if regenerate:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        if kept == text:
            return
        diff = unified_diff(kept.splitlines(), text.splitlines(), f"{path.name} (kept)", "(made now)", lineterm="")
        pytest.fail(f"{path} is stale; make golden docs\n" + "\n".join(islice(diff, 60)), pytrace=False)

    return compare


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root of all loggers, which a test may set up; it is put back."""
    root, own = logging.getLogger(), logging.getLogger("exporter")
    level, own_level, handlers = root.level, own.level, root.handlers[:]
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="session", autouse=True)
def _the_loop_never_blocks() -> Iterator[None]:
    """Any blocking call of the exporter's own code on a running event loop raises."""
    watch = BlockBuster(scanned_modules=["exporter"])
    watch.activate()
    yield
    watch.deactivate()
