"""The import contracts of pyproject.toml hold, and name all they are meant to name."""

import tomllib
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
