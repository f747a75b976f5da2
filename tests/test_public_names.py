"""The names of `kdmcse_hf`: imported when they are used, and known to type checkers."""

import ast
import importlib

import pytest
from paths import ROOT

import kdmcse_hf

# What users may rely on.
PROMISED = {"KDMCSEConfig", "KDMCSEModel", "KDMCSETrainer", "KDMCSETrainingArguments", "losses"}
PROMISED |= {"load_text", "load_captions", "load_stsb"}


def stub() -> dict[str, str]:
    """The names that type checkers see, and the module that each comes from."""
    tree = ast.parse((ROOT / "kdmcse_hf" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname: f"kdmcse_hf.{node.module or alias.name}" for node in imports for alias in node.names}


def test_what_is_promised_is_public():
    assert set(kdmcse_hf.__all__) >= PROMISED
    assert set(dir(kdmcse_hf)) >= PROMISED


def test_each_name_is_that_of_its_module():
    for name, module in stub().items():
        found = importlib.import_module(module)
        assert getattr(kdmcse_hf, name) is (found if name == "losses" else getattr(found, name))


def test_type_checkers_see_the_same_names():
    assert sorted(stub()) == sorted(kdmcse_hf.__all__)


def test_an_unknown_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'kdmcse_hf' has no attribute 'KDMCSEModle'"):
        _ = kdmcse_hf.KDMCSEModle
