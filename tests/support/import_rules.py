"""Which module of a package imports which, read from the sources, and which of these imports break its rules."""

import ast
import dataclasses
import graphlib
import pathlib
from collections.abc import Iterator

# The floors of kdmcse_hf, from the top. A package or module imports from itself and from lower floors only, not from
# its neighbours on the same floor. "" stands for kdmcse_hf/__init__.py.
FLOORS = (
    ("commands",),
    ("",),
    ("training",),
    ("hub", "report"),
    ("card",),
    ("model", "data", "teacher"),
    ("losses", "evaluation", "features"),
    ("encoding", "metrics", "distributed", "launcher", "dataset_files", "annotation_files", "version"),
    ("files", "ranges"),
    ("errors",),
)


@dataclasses.dataclass(frozen=True)
class Import:
    """One import: the dotted names of both modules, its line, and whether it waits.

    An import waits that stands in a function, or where only type checkers read it.
    """

    importer: str
    imported: str
    line: int
    waits: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.imported}"


def modules_of(package: pathlib.Path) -> dict[str, pathlib.Path]:
    """Dotted name -> file of every module of a package's folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: pathlib.Path, known: set[str]) -> list[Import]:
    """All imports of one module; `from a import b` is of `a.b` where that is a module, else of `a`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node, waits in _walk(ast.parse(path.read_text(encoding="utf-8")), waits=False):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [name if (name := f"{start}.{alias.name}") in known else start for alias in node.names]
        found += [Import(module, name, node.lineno, waits) for name in names]
    return found


def faults(
    package: pathlib.Path, floors: tuple[tuple[str, ...], ...] = FLOORS, foreign: set[str] = frozenset()
) -> list[str]:
    """What breaks the rules in the imports of a package, a sentence each.

    Args:
        package: its folder.
        floors: names of its packages and modules, from the top.
        foreign: top-level names that no module may import.
    """
    modules = modules_of(package)
    imports = [each for name, path in modules.items() for each in imports_of(name, path, set(modules))]
    own = [each for each in imports if each.imported.split(".")[0] == package.name]
    # An __init__.py may import its own names late (PEP 562), so that importing the package costs little.
    waiting = [each for each in own if each.waits and modules[each.importer].name != "__init__.py"]
    return [
        *(f"{each}: the package must not know it" for each in imports if each.imported.split(".")[0] in foreign),
        *(f"{each}: imports of the package stand at the top of a module" for each in waiting),
        *_upward(own, floors),
        *_without_floor(modules, floors),
        *_circle(own),
    ]


def _upward(imports: list[Import], floors: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    level = {unit: number for number, units in enumerate(floors) for unit in units}
    for each in imports:
        upper, lower = _unit(each.importer), _unit(each.imported)
        if upper != lower and upper in level and level[upper] >= level.get(lower, len(floors)):
            yield f"{each}: {upper or 'the package itself'} does not stand above {lower or 'the package itself'}"


def _without_floor(modules: dict[str, pathlib.Path], floors: tuple[tuple[str, ...], ...]) -> Iterator[str]:
    placed = {unit for units in floors for unit in units}
    for unit in sorted({_unit(name) for name in modules} - placed):
        yield f"{unit} stands on no floor"


def _circle(imports: list[Import]) -> Iterator[str]:
    graph: dict[str, set[str]] = {}
    for each in imports:
        graph.setdefault(each.importer, set()).add(each.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield f"modules import each other: {' <- '.join(error.args[1])}"


def _walk(node: ast.AST, waits: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, waits
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for statement in child.body:
                yield from _walk(ast.Module([statement], []), waits=True)
            yield from _walk(ast.Module(child.orelse, []), waits)
        else:
            yield from _walk(child, waits or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def _unit(module: str) -> str:
    """The package or module right below the package itself: "card" of "kdmcse_hf.card.results"."""
    return module.split(".")[1] if "." in module else ""
