"""promtool reads every rule file; a chart value can replace a threshold by its mark."""

import re
import subprocess
from pathlib import Path

import pytest

from dashboards.rules import PLAIN_RULES, SOURCES
from tests.conftest import needs


@pytest.mark.parametrize("path", [*SOURCES, PLAIN_RULES], ids=lambda path: path.name)
def test_promtool_accepts(path: Path) -> None:
    run = subprocess.run([needs("promtool"), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_threshold_can_be_replaced_by_its_mark_alone(tmp_path: Path) -> None:
    """What docs/runbooks/README.md shows with sed, and a chart can do with regexReplaceAll."""
    text = PLAIN_RULES.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)\S+( # highShare)$", r"0.2\1", re.sub(r"(?m)\S+( # highFor)$", r"1h\1", text))
    assert changed.count("0.2 # highShare") == text.count("# highShare") > 1
    path = tmp_path / "rules.yaml"
    path.write_text(changed, encoding="utf-8")
    assert "for: 1h # highFor" in changed
    subprocess.run([needs("promtool"), "check", "rules", str(path)], capture_output=True, check=True)
