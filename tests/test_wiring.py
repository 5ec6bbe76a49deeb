"""The files agree with each other: parameters, dependencies, outputs, budgets, and nothing that names a machine."""

import ast
import json
import re
import statistics
import subprocess
import sys

import pytest
import yaml
from papermill.inspection import inspect_notebook

from tests.wiring import ABLATIONS, STAGES, cells, code, reached, section_of
from vectok.ablations.settings import UPSTREAM
from vectok.config import read_params, stage_parameters
from vectok.layout import NOTEBOOKS, REPOSITORY
from vectok.runner import notebook_of, stage_of

PARAMS = read_params()
EVERY = STAGES | ABLATIONS
BORROWED = set(UPSTREAM)  # sections whose keys an ablation may override beside its own stage's
SECTIONS = list(dict.fromkeys(map(section_of, EVERY)))  # each has one notebook
NOTEBOOK_FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
MODULES = sorted((REPOSITORY / "vectok").rglob("*.py"))
TRACKED = [
    REPOSITORY / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.splitlines()
    if (REPOSITORY / name).is_file()
]  # fmt: skip


@pytest.mark.parametrize("profile", PARAMS["profiles"])
@pytest.mark.parametrize("section", SECTIONS)
def test_parameter_names_agree_both_ways(section, profile):
    declared = {"profile", "seed", "scale"} | set(inspect_notebook(str(notebook_of(section))))
    named = {"ablation"} if any(section_of(stage) == section and _is_named(stage) for stage in ABLATIONS) else set()
    assert set(stage_parameters(profile, section, PARAMS)) | named == declared


def _is_named(stage):
    """Whether the runner gives a stage's notebook the name of an ablation."""
    return "--ablation" in EVERY[stage]["cmd"]


@pytest.mark.parametrize("section", SECTIONS)
def test_notebook_defaults_are_the_embedded_profile(section):
    declared = inspect_notebook(str(notebook_of(section)))
    expected = stage_parameters("embedded", section, PARAMS)
    defaults = {name: ast.literal_eval(found["default"]) for name, found in declared.items()}
    assert defaults.pop("ablation", None) in {None, *PARAMS["ablations"]}
    assert defaults == {name: expected[name] for name in defaults}


def test_every_parameter_is_common_or_in_every_profile():
    for section in SECTIONS:
        sections = [set((profile or {}).get(section) or {}) for profile in PARAMS["profiles"].values()]
        assert all(each == sections[0] for each in sections), section
        assert not sections[0] & set(PARAMS["common"].get(section) or {}), section


def test_every_notebook_is_a_stage_and_every_stage_a_notebook():
    assert all(section_of(stage) == stage for stage in STAGES)
    assert sorted(stage_of(path) for path in NOTEBOOK_FILES) == sorted(SECTIONS)


@pytest.mark.parametrize("stage", EVERY)
def test_dependencies_are_the_modules_that_the_notebook_reaches(stage):
    notebook = notebook_of(section_of(stage))
    declared = {dep for dep in EVERY[stage]["deps"] if dep.startswith("vectok/")}
    modules = reached(code(notebook))
    assert declared == modules | ({"vectok/text/languages"} if "vectok/text/language_files.py" in modules else set())
    assert f"notebooks/{notebook.name}" in EVERY[stage]["deps"]


@pytest.mark.parametrize("stage", EVERY)
def test_parameters_of_a_stage_are_tracked(stage):
    section, tracked = section_of(stage), set(EVERY[stage]["params"])
    sections = {section, *(BORROWED | {section.removeprefix("ablation_")} if _is_named(stage) else ())}
    expected = {"common.seed"} | {f"common.{each}" for each in sections if each in PARAMS["common"]}
    expected |= {f"profiles.${{item.profile}}.{each}" for each in sections if PARAMS["profiles"]["embedded"].get(each)}
    expected |= {"ablations.${item.name}"} if _is_named(stage) else set()
    assert tracked - {"common.scale", "ablations"} == expected
    scaled = _is_named(stage) or re.search(r"scale \*|\* scale", code(notebook_of(section)))
    assert ("common.scale" in tracked) == bool(scaled)


@pytest.mark.parametrize("notebook", NOTEBOOK_FILES, ids=lambda path: path.stem)
def test_notebook_is_stripped_and_shaped(notebook):
    found = cells(notebook)
    sources = [cell for cell in found if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in sources)
    assert set(json.loads(notebook.read_text())["metadata"]) <= {"kernelspec"}
    assert [cell["metadata"].get("tags") for cell in found].count(["parameters"]) == 1
    assert found[-1]["metadata"].get("tags") == ["metrics"]
    too_long = [cell["source"] for cell in sources if len(cell["source"].splitlines()) > 15]
    # Exceptions: the parameters, and one statement that fills in a configuration, an argument a line.
    too_long = [text for text in too_long if "profile: str" not in text and len(ast.parse(text).body) > 1]
    assert not too_long, "cells have 15 lines at most"
    assert not [cell["source"] for cell in sources if re.search(r"(?m)^\s*class ", cell["source"])]
    assert found[0]["source"].startswith("# ")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_keeps_to_its_budgets(module):
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert module.name != "utils.py"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.body[0].lineno - _docstring_lines(node) < 60, node.name
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not untyped, f"{node.name}: {untyped} have no type"
            assert node.args.kwarg is None, f"{node.name} takes **{node.args.kwarg}"


def _docstring_lines(node: ast.FunctionDef) -> int:
    has = ast.get_docstring(node) is not None
    return node.body[0].end_lineno - node.body[0].lineno + 1 if has else 0


def test_functions_are_short_on_the_whole():
    lengths = [
        node.end_lineno - node.lineno + 1 - _docstring_lines(node)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    assert statistics.median(lengths) <= 10
    assert statistics.quantiles(lengths, n=10)[-1] <= 35


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_public_names_have_docstrings(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), module
    public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]
    assert not [node.name for node in public if not ast.get_docstring(node)]


def test_tracked_files_name_no_machine_and_no_registry():
    hosts = "|".join(
        ["pypi" + r"\.", "pythonhosted" + r"\.", "deb" + r"\.debian", "/opt" + "/", "/root" + "/", "/work" + "/"]
    )
    texts = {".py", ".ipynb", ".md", ".yaml", ".yml", ".json", ".csv", ".txt", ".lock", ".in", ".toml", ".cff", ""}
    for path in TRACKED:
        if path.suffix in texts:
            found = re.search(rf"(?<![\w.])/home/\w|{hosts}", path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path}: {found.group()}"


def test_tracked_files_are_small():
    sizes = {path: path.stat().st_size for path in TRACKED}
    assert not [path for path, size in sizes.items() if size > 3_000_000]
    assert sum(size for path, size in sizes.items() if "reports" in path.parts) < 15_000_000
    assert sum(size for path, size in sizes.items() if "sample" in path.parts) < 3_000_000


def test_environment_reads_the_lock_that_make_installs():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    lock = re.search(r"(?m)^LOCK := (.+)$", (REPOSITORY / "Makefile").read_text()).group(1)
    assert pip == [f"-r {lock}"]
    lines = (REPOSITORY / "environment.yml").read_text().splitlines()
    assert not [line for line in lines if line.strip().startswith("- ") and "#" not in line and "pip:" not in line]


def test_lock_holds_every_requirement_with_hashes():
    lock = (REPOSITORY / "requirements/requirements.lock").read_text()
    asked = re.findall(r"(?m)^([\w-]+)", (REPOSITORY / "requirements/requirements.in").read_text())
    assert not [name for name in asked if not re.search(rf"(?m)^{name}==", lock)]
    versions = dict(re.findall(r"(?m)^(torch|torchaudio)==(\S+)", lock))
    assert versions["torch"] == versions["torchaudio"]
    pinned = re.split(r"(?m)^(?=[\w-]+==)", lock)[1:]
    assert all("--hash=sha256:" in entry for entry in pinned)


def test_ci_calls_the_readme_test_command():
    assert "make test" in (REPOSITORY / ".ci/run").read_text()
    assert "make test" in (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("document", ["README.md", "data/README.md", "reports/LOG.md"])
def test_every_path_named_in_prose_exists(document):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    named = re.findall(
        r"(?<![\w/<])((?:vectok|notebooks|tests|requirements|data/lists|data/hashes|data/sample)/[\w./]+)", text
    )
    assert not [name for name in named if not (REPOSITORY / name.rstrip("./")).exists()]


def test_readme_shows_the_committed_results():
    command = [sys.executable, "-m", "vectok.evaluation.readme", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
