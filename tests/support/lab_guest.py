"""What a guest without a network needs to run our tests: this checkout and the packages they import, in one folder."""

from __future__ import annotations

import re
import shutil
from compileall import compile_dir
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from py_compile import PycInvalidationMode

from tests.support.process import ROOT

WANTED = (
    "kube-throttle-exporter",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "hypothesis",
    "blockbuster",
    "trustme",
)
LEFT_OUT = frozenset({"kubernetes"})
"""Large, and imported by no test that runs in a guest."""
_CHECKOUT = ("exporter", "tests", "pyproject.toml")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_share(folder: Path) -> None:
    """``folder/t``: the checkout; ``folder/site``: third-party packages, for this version of Python."""
    for name in _CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "golden")
            shutil.copytree(source, folder / "t" / name, ignore=ignored)
        else:
            shutil.copy2(source, folder / "t" / name)
    for package in _with_requirements(WANTED):
        _copy(package, folder / "site")
    # The guest cannot write here: without bytecode each process it starts would compile everything anew.
    compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def _with_requirements(names: tuple[str, ...]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found or name in LEFT_OUT:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # a requirement of another platform or version of Python
        required = [one for one in found[name].requires or () if "extra ==" not in one]
        pending += [match[0] for one in required if (match := _NAME.match(one))]
    return list(found.values())


def _copy(package: Distribution, site: Path) -> None:
    for file in package.files or ():
        source = Path(str(package.locate_file(file)))
        # Console scripts lie outside of the folder, bytecode is the guest's own to make.
        if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
