"""The sources say so: imports run down the floors of the package, at the top of its modules, without circles."""

import importlib.metadata
import pathlib
import sys

import pytest
from import_rules import FLOORS, faults, imports_of, modules_of
from paths import RECIPES, ROOT

PACKAGE = ROOT / "kdmcse_hf"


def recipe_names() -> set[str]:
    """Names by which a file of recipes could be imported, but for those that a library has too (`evaluate`)."""
    names = {path.stem for path in RECIPES.glob("*.py")} | {path.parent.name for path in RECIPES.glob("*/__init__.py")}
    return {"recipes", *names} - set(importlib.metadata.packages_distributions()) - sys.stdlib_module_names


def test_imports_run_down_the_floors_without_circles():
    assert {"demo", "reproduction", "recipes"} <= recipe_names()
    assert faults(PACKAGE, foreign=recipe_names()) == []


def test_the_checker_reads_the_real_package():
    """It sees imports that are known to be there, absolute, relative and of a module by `from .. import`."""
    modules = modules_of(PACKAGE)
    assert {name.split(".")[1] for name in modules if "." in name} <= {unit for units in FLOORS for unit in units}
    found = {each.imported for name, path in modules.items() for each in imports_of(name, path, set(modules))}
    assert {"kdmcse_hf.losses", "kdmcse_hf.files", "kdmcse_hf.hub.push", "transformers", "torch"} <= found


def test_the_pushing_process_imports_huggingface_hub_alone():
    """It is started as a file for each push: the package would take seconds to import."""
    name = "kdmcse_hf.hub.worker"
    found = {each.imported.split(".")[0] for each in imports_of(name, PACKAGE / "hub" / "worker.py", set())}
    assert found - sys.stdlib_module_names == {"huggingface_hub"}


def write(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    """A package `house` of two rooms, `top` over `left` and `right`, with some files replaced."""
    empty = {name: "" for name in ("__init__.py", "top/__init__.py", "left/__init__.py", "left/a.py", "left/b.py")}
    for name, content in {**empty, "right.py": "", "base.py": "", **files}.items():
        path = folder / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / "house"


HOUSE = (("",), ("top",), ("left", "right"), ("base",))


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (
            {"left/a.py": "from ..top import x"},
            "house.left.a, line 1, imports house.top: left does not stand above top",
        ),
        ({"left/a.py": "import house.top"}, "left does not stand above top"),
        ({"left/a.py": "from house import top"}, "left does not stand above top"),
        ({"left/a.py": "from .. import x"}, "imports house: left does not stand above the package itself"),
        ({"left/a.py": "\nfrom .. import right"}, "line 2, imports house.right: left does not stand above right"),
        (
            {"base.py": "try:\n    from .right import x\nexcept ImportError:\n    pass"},
            "base does not stand above right",
        ),
        ({"top/__init__.py": "def f():\n    from ..right import x"}, None),
        (
            {"top/z.py": "def f():\n    from ..right import x"},
            "house.top.z, line 2, imports house.right: imports of the",
        ),
        ({"top/z.py": "class C:\n    async def f(self):\n        import house.base"}, "stand at the top of a module"),
        (
            {"top/z.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..right import x"},
            "stand at the top of a module",
        ),
        (
            {"left/a.py": "import typing\nif typing.TYPE_CHECKING:\n    from ..top import x"},
            "left does not stand above top",
        ),
        ({"left/a.py": "from . import b", "left/b.py": "from .a import x"}, "modules import each other: house.left."),
        ({"left/a.py": "from .b import x", "left/b.py": "from house.left import a"}, "modules import each other"),
        ({"cellar.py": ""}, "cellar stands on no floor"),
        ({"base.py": "import outside.thing"}, "base, line 1, imports outside.thing: the package must not know it"),
        ({"base.py": "def f():\n    from outside import x"}, "the package must not know it"),
    ],
)
def test_what_the_rules_forbid_is_found(files, fault, tmp_path):
    """Each example breaks one rule, or (None) none; without it the house is in order."""
    found = faults(write(tmp_path, files), HOUSE, foreign={"outside"})
    if fault is None:
        assert found == []
    else:
        assert any(fault in each for each in found), found


def test_what_the_rules_allow_is_no_fault(tmp_path):
    """Downward, within a package, optional libraries late or for types alone, a package's names from its modules."""
    house = write(
        tmp_path,
        {
            "__init__.py": "from .top import z\nfrom .left.a import x\nfrom .left import b",
            "top/z.py": "import os\nfrom ..left.a import x\nfrom ..right import y\nimport house.base",
            "left/__init__.py": "from .a import x\ndef __getattr__(name):\n    from .b import y",
            "left/a.py": "from .b import y\nfrom .. import base\nfrom typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from PIL import Image\ndef f():\n    import numpy",
            "right.py": "import numpy as np\nfrom .base import z",
        },
    )
    assert faults(house, HOUSE, foreign={"outside"}) == []
