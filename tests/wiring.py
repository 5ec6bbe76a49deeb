"""Reads the wiring of the repository from its files: which modules a notebook reaches, what dvc.yaml declares."""

import ast
import json
from pathlib import Path

import yaml

from vectok.layout import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
ABLATIONS = yaml.safe_load((REPOSITORY / "ablations/dvc.yaml").read_text())["stages"]  # several may share a notebook


def section_of(stage: str) -> str:
    """The section of params.yaml, and the notebook, that a stage of either file runs with: what its command names."""
    return (STAGES | ABLATIONS)[stage]["cmd"].split()[3]


def cells(notebook: Path) -> list[dict]:
    """Cells of a notebook, their source joined to one string."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def code(notebook: Path) -> str:
    """All code of a notebook."""
    return "\n".join(cell["source"] for cell in cells(notebook) if cell["cell_type"] == "code")


def file_of(module: str) -> Path | None:
    """File of a dotted vectok module, None when it is no module (an attribute of one)."""
    stem = REPOSITORY / module.replace(".", "/")
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.exists()), None)


def _imports(source: str) -> set[Path]:
    """vectok files that a piece of code imports, inside functions too, `__getattr__` (lazy attributes) apart."""
    tree = ast.parse(source)
    lazy = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"]
    skipped = {id(inner) for node in lazy for inner in ast.walk(node)}
    names = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "vectok":
            names |= {"vectok.api"} if node.attr == "load" else set()
    parents = {".".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}
    return {path for name in parents if name.split(".")[0] == "vectok" and (path := file_of(name))}


def reached(source: str) -> set[str]:
    """Every vectok file that a piece of code imports, directly or through others, relative to the repository."""
    found, open_files = set(), _imports(source)
    while open_files:
        found |= open_files
        open_files = {path for file in open_files for path in _imports(file.read_text(encoding="utf-8"))} - found
    return {str(path.relative_to(REPOSITORY)) for path in found}
