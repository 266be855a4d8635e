"""Who may import whom, and how large a room may be, read from the modules' own syntax trees.

Every import counts: at the top, in function bodies, and in TYPE_CHECKING blocks.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SOURCE = ROOT / "src"
PACKAGE = "memflow_cli"
FRONT_DOOR = "front door"

_SEAMS = {"attention_context", "backbone", "geometry", "errors", "version"}
_LOOP = {"guidance", "pipeline", "rebuilt_walk", "walks"}
_FILM = {*_SEAMS, *_LOOP, "machine", "memory", "story"}
_STUDIO = {*_FILM, "film", "models"}
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "geometry": {"errors"},
    "attention_context": set(),
    "backbone": {"attention_context", "geometry", "errors"},
    "machine": {"errors"},
    "sampler": {"backbone"},
    "kv_store": {"geometry"},
    "kv_cache": {"attention_context", "geometry", "head_views", "kv_store"},
    "head_views": {"attention_context", "kv_store"},
    "memory": {"attention_context", "geometry", "errors", "machine", "kv_cache", "kv_store"},
    "story": {"geometry", "errors", "memory"},
    **{file: {*_SEAMS, *_LOOP, "machine", "memory", "kv_cache", "sampler", "story"} for file in _LOOP},
    "models": {*_SEAMS, "machine", "memory"},
    "film": _FILM,
    "studio": _STUDIO,
    "report": {*_SEAMS, "film", "memory", "story"},
    "live": {*_SEAMS, "film", "memory", "story", "studio"},
    "bench": {*_STUDIO, "kv_cache", "sampler"},
    "cli": {*_STUDIO, "studio", "report", "live", "bench"},
    "__main__": {"cli"},
    FRONT_DOOR: {*_STUDIO, "studio"},
}
"""Room -> rooms that it may know. A room is a folder or a file on top."""
ONLY = {("story", "memory"): "memory.options", ("models", "memory"): "memory.options"}
"""Of a room, the one module that another may know."""

HEAVY = {"torch", "diffusers", "transformers", "safetensors", "huggingface_hub", "tokenizers"}
LIGHT = re.compile(
    r"(cli|errors|version|story|geometry|report)(\..*)?|backbone|memory\.(options|record)|machine\.device|"
    r"film\.(trace|recipe|names|script|record|preflight|events)|models\.(catalog|entry|family)|studio\.(job|needs)|"
)
"""Modules that `--help`, `plan`, and a wrong storyboard's error need; the last alternative is the front door."""

MAX_FILE, MAX_FUNCTION = 350, 60

OURS = {PACKAGE, "training", "benchmarks"}
OF_NAMEDTUPLES = {"_replace", "_asdict", "_fields", "_make"}
BY_NAME = {"getattr", "setattr", "delattr", "hasattr"}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TEXTS = {module_name(path): path.read_text() for path in SOURCE.rglob("*.py")}
MODULES = {name: ast.parse(text) for name, text in TEXTS.items()}


def imports(tree: ast.AST, whole: bool) -> set[str]:
    """Imported modules by full name; without `whole` only what runs when the module is imported."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: absolute imports only"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
        elif not whole and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                found |= imports(other, whole)
        elif whole or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= imports(node, whole)
    return found


GRAPH = {name: imports(tree, whole=True) & MODULES.keys() - {name} for name, tree in MODULES.items()}


def short(module: str) -> str:
    return module.removeprefix(PACKAGE).lstrip(".")


def room(module: str) -> str:
    return short(module).split(".")[0] or FRONT_DOOR


def test_every_room_knows_only_the_rooms_below_it():
    wrong = []
    for module, imported in GRAPH.items():
        here = room(module)
        assert here in MAY_IMPORT, f"{here} is a new room: say in MAY_IMPORT what it may know"
        for name in sorted(imported):
            there = room(name)
            allowed = there == here or there in MAY_IMPORT[here]
            if allowed and (here, there) in ONLY:
                allowed = short(name) == ONLY[here, there]
            if not allowed:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_any_kind():
    """Not around corners, not in functions, not for types alone."""
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in finished:
            for imported in sorted(GRAPH[name]):
                visit(imported, (*path, name))
            finished.add(name)

    for name in sorted(GRAPH):
        visit(name, ())


@pytest.mark.parametrize("module", sorted(name for name in MODULES if LIGHT.fullmatch(short(name))))
def test_light_modules_import_nothing_heavy(module):
    """What `--help`, `plan` and a wrong storyboard's error need comes without torch, through all that it imports."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for imported in imports(MODULES[name], whole=False):
            assert imported.split(".")[0] not in HEAVY, f"{module} imports {imported} by way of {name}"
            if imported in MODULES and imported not in seen:
                seen.add(imported)
                waiting.append(imported)


def test_nothing_reads_the_environment_or_prints_below_the_command_line():
    for name, tree in MODULES.items():
        if room(name) == "cli":
            continue
        for node in ast.walk(tree):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not is_print, f"{name}, line {node.lineno}: print"
            is_environment = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            assert not is_environment, f"{name}, line {node.lineno}: the environment is read in cli/ only"


def test_files_and_functions_fit_on_a_few_screens():
    long = {short(name) for name, text in TEXTS.items() if len(text.splitlines()) > MAX_FILE}
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.end_lineno - node.lineno >= MAX_FUNCTION:
                long.add(f"{short(name)}.{node.name}")
    assert not long, f"longer than {MAX_FILE} lines (a file) or {MAX_FUNCTION} (a function)"


def is_private(name: str) -> bool:
    """Begins with one underscore; names with two at both ends are Python's own."""
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMEDTUPLES


def private_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names if alias.name.split(".")[0] in OURS for part in alias.name.split(".")]
        else:
            continue
        yield from ((node.lineno, name) for name in names if is_private(name))


def of_others(tree: ast.AST) -> set[str]:
    """Names that stand for modules, classes and functions of the standard library and of other packages."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                origin = (alias.name if isinstance(node, ast.Import) else str(node.module)).split(".")[0]
                if origin not in OURS and not (TESTS / f"{origin}.py").exists():
                    found.add((alias.asname or alias.name).split(".")[0])
    return found


def own_attributes(tree: ast.AST) -> set[ast.AST]:
    """`self._x` in classes that give themselves an `_x`."""
    found: set[ast.AST] = set()
    for made in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        used = [
            node for node in ast.walk(made) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
        ]
        given = {node.name for node in made.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        given |= {node.attr for node in used if isinstance(node.ctx, ast.Store)}
        found |= {node for node in used if node.attr in given}
    return found


def of_ours(text: str) -> bool:
    """Whether a target is a name by itself, or one within the product."""
    return "." not in text or text.split(".")[0] in OURS


def private_attributes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """`object._name`, and the same through `getattr` or `monkeypatch.setattr`, whose target may be one text."""
    allowed, own = of_others(tree), own_attributes(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, names = node.value, [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME:
            root = node.args[0]
            texts = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            names = [part for text in texts if of_ours(text) for part in text.split(".")]
        else:
            continue
        if node not in own and ast.unparse(root).split(".")[0].split("(")[0] not in allowed:
            yield from ((node.lineno, name) for name in names if is_private(name))


def test_tests_use_nothing_private():
    """They test what the product does for whoever uses it; how it does that may change under them."""
    wrong = []
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        found = sorted({*private_imports(tree), *private_attributes(tree)})
        wrong += [f"{path.relative_to(TESTS)}, line {line}: {name}" for line, name in found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "from memflow_cli.errors import _x",
        "import training._x",
        "from tiny_model import make\nmake()._x",
        "thing._x = 1",
        "def failing(self): self._x",
        "class Mine(Theirs):\n def see(self): return self._x",
        "monkeypatch.setattr(thing, '_x', None)",
        "monkeypatch.setattr('memflow_cli.errors._x', None)",
        "getattr(thing, '_x')",
    ],
)
def test_what_is_private_is_seen(text):
    tree = ast.parse(text)
    assert [name for _, name in (*private_imports(tree), *private_attributes(tree))] == ["_x"]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos._exit(0)",
        "from memflow_cli import __version__",
        "place._replace(x=1)",
        "import torch\nmonkeypatch.setattr(torch.ops, '_x', None)",
        "class Mine:\n def __init__(self): self._x = self._y()\n def _y(self): return 1",
    ],
)
def test_what_is_python_s_or_a_test_s_own_may_be_used(text):
    tree = ast.parse(text)
    assert not [*private_imports(tree), *private_attributes(tree)]
