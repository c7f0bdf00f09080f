"""The import contracts of pyproject.toml hold, and name all they are meant to name."""

import logging
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
CONTRACTS = {
    contract["id"]: contract for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
}


@pytest.fixture(autouse=True)
def logging_is_left_alone() -> Iterator[None]:
    """import-linter sets up logging for itself, and with that turns every logger there is off."""
    disabled = {name for name, one in logging.Logger.manager.loggerDict.items() if getattr(one, "disabled", False)}
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for name, one in logging.Logger.manager.loggerDict.items():
        if isinstance(one, logging.Logger):
            one.disabled = name in disabled


@pytest.mark.parametrize("contract", CONTRACTS)
def test_import_contract_is_kept(contract: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(PYPROJECT), limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_contract_of_purity_forbids_every_runtime_dependency() -> None:
    runtime = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, requires("kube-throttle-exporter") or [])
        if requirement.marker is None
    }
    assert runtime
    modules = {
        module
        for module, distributions in packages_distributions().items()
        if runtime.intersection(map(canonicalize_name, distributions))
    }
    public = {module for module in modules if not module.startswith("_")}
    assert public <= set(CONTRACTS["pure"]["forbidden_modules"])
