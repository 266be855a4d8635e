"""Who may import whom, read from the modules' own syntax trees."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = "memflow_cli"

# What a part of the package never imports, at whatever level.
NEVER = {
    "errors": [""],
    # The seam: backbone, cache and memory meet here, so it knows none of them.
    "attention_context": ["cli", "film", "pipeline", "memory", "wan", "theatre", "kv_cache", "sampler", "geometry"],
    "geometry": ["cli", "film", "pipeline", "memory", "wan", "theatre", "kv_cache", "sampler"],
    "kv_cache": ["cli", "film", "pipeline", "memory", "wan", "theatre", "sampler"],
    "sampler": ["cli", "film", "pipeline", "memory", "wan", "theatre"],
    "memory": ["cli", "film", "pipeline", "wan", "theatre", "sampler"],
    "wan": ["cli", "film", "memory"],
    "theatre": ["cli", "film", "memory"],
    "pipeline": ["cli", "film", "theatre"],
    "film": ["cli"],
}
HEAVY = {"torch", "diffusers", "transformers", "safetensors", "huggingface_hub", "tokenizers"}
LIGHT = [
    "cli",
    "errors",
    "storyboard",
    "storyboard_schema",
    "yaml_lines",
    "geometry",
    "trace",
    "catalog",
    "recipe",
    "report",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


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
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                found |= imports(other, whole)
        elif whole or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= imports(node, whole)
    return found


def part_of(module: str) -> str:
    """The first part of its name; film_frames and the like are parts of film."""
    name = module.removeprefix(PACKAGE).lstrip(".").split(".")[0]
    return "film" if name.startswith("film_") else name


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_are_absolute_and_point_down(module):
    forbidden = NEVER.get(part_of(module), [] if part_of(module) == "cli" else ["cli"])
    for imported in imports(MODULES[module], whole=True):
        if imported.startswith(PACKAGE):
            assert part_of(imported) not in forbidden, f"{module} imports {imported}"


def test_no_two_modules_import_each_other():
    """Not even around corners: when modules are imported, each finds its imports finished."""
    graph = {name: {i for i in imports(tree, whole=False) if i in MODULES} for name, tree in MODULES.items()}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in finished:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("module", sorted(name for name in MODULES if part_of(name) in LIGHT))
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
        if part_of(name) == "cli":
            continue
        for node in ast.walk(tree):
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            assert not is_print, f"{name}, line {node.lineno}: print"
            is_environment = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            assert not is_environment, f"{name}, line {node.lineno}: the environment is read in cli/ only"
