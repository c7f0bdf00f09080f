"""What is generated is what its sources say."""

from pathlib import Path

import pytest

from dashboards.generate import files
from dashboards.thresholds import THRESHOLDS, Threshold, stamp
from tests.conftest import Generated


@pytest.mark.docs
@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_file_is_fresh(path: Path, generated: Generated) -> None:
    generated(path, files()[path])


def test_a_threshold_goes_wherever_its_name_stands() -> None:
    changed = {**THRESHOLDS, "highRatio": Threshold("0.3", ""), "highFor": Threshold("1h", "")}
    text = "a > 0.25 # highRatio\nfor: 15m # highFor\n# highRatio\nb > 1 # severeShare\n"
    assert stamp(text, changed) == "a > 0.3 # highRatio\nfor: 1h # highFor\n# highRatio\nb > 0.4 # severeShare\n"
    with pytest.raises(KeyError, match="hihgRatio"):
        stamp("a > 0.25 # hihgRatio\n")
