"""The benchmark runs to its end at a tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.lab.cgroups import LabError, writable_hierarchy
from tests.bench.__main__ import main
from tests.conftest import needs, unavailable


@pytest.mark.timeout(240)
def test_the_whole_bench_at_a_tiny_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("gcc")
    try:
        writable_hierarchy()
    except LabError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")
    document = tmp_path / "performance.md"
    document.write_text("# Costs\n<!-- measured: begin -->\n<!-- measured: end -->\n")
    sizes = ["--pods", "2", "4", "--active", "2", "--rounds", "3", "--seconds", "1", "--scrapes", "2"]

    assert main([*sizes, "--brief", "--write", str(document)]) == 0

    written = document.read_text()
    assert "### 4 pods, 12 containers" in written
    assert written.count("\n| tick, 2 awake, CPU ms |") == 2
    assert written.count("\n| growth: ") == 9
    assert capsys.readouterr().out.strip() in written
