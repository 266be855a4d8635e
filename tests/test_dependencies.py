"""What is declared is used, and what is used is declared: pyproject.toml against the imports of the source."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Where a distribution's name is not the name that is imported.
IMPORTED_AS = {"pyyaml": "yaml", "pillow": "PIL", "scikit-learn": "sklearn", "grpcio": "grpc"}
TOLD_TO_ANOTHER = {"websockets": "uvicorn"}
"""Imported by another library for us, where it is there."""
PARTS = {"pydantic_core": "pydantic"}
"""What a declared library is made of."""
ASKED_FOR = {"hf_xet", "sageattention"}
"""Looked for by name and done without: one comes with huggingface_hub, the other must be built on its machine."""


def declared(requirements: list[str]) -> set[str]:
    names = [re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements]
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def imported(folder: Path) -> dict[str, str]:
    """Top-level packages, wherever in a file they are imported, and one file that does; `import_module("x")` counts too."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "find_spec")):
                names = [
                    part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
            for name in names:
                found.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    found = {PARTS.get(name, name): path for name, path in found.items()}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name != "memflow_cli"}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()}
SOURCE = imported(ROOT / "src")


def test_every_dependency_is_imported():
    """imageio was declared for a year, and imported nowhere."""
    assert REQUIRED - set(SOURCE) == set()


def test_everything_imported_is_declared():
    optional = set().union(*(names for name, names in EXTRAS.items() if name != "dev"))
    undeclared = set(SOURCE) - REQUIRED - optional - ASKED_FOR
    assert undeclared == set(), {name: SOURCE[name] for name in undeclared}


def test_every_extra_is_imported_and_is_optional():
    for name, names in EXTRAS.items():
        if name == "dev":
            continue
        unused = {part for part in names - set(SOURCE) if TOLD_TO_ANOTHER.get(part) not in names}
        assert not unused, f"nothing imports {unused}"
        assert not names & REQUIRED, f"{names & REQUIRED} is required already"


def test_every_dependency_has_a_tested_version():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = declared([line for line in lines if line and not line.startswith("#")])
    assert REQUIRED.union(*EXTRAS.values()) <= tested
