"""Runs one stage: its notebook, with the parameters of one profile, strictly.

``python -m vectok.runner codec --profile embedded`` compares the names that the notebook's ``parameters`` cell declares
with the names that params.yaml supplies, both ways, and refuses to run on any difference: papermill alone would only
warn and train with the default. The executed notebook goes to reports/<profile>/notebooks/ whether it passes or fails;
what the stage cost (seconds, peak memory) goes to data/<profile>/cost/. A notebook of ablations is given the name of
one of them too: ``python -m vectok.runner ablation_codec --profile embedded --ablation ssim``.
"""

import argparse
import json
import os
import re
import resource
import sys
import time
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

from vectok.config import stage_parameters
from vectok.layout import NOTEBOOKS, REPOSITORY, cost_file, reports_folder

# What tqdm prints: "12%|###   | 3/25 [00:01<00:09, ...]".
PROGRESS = re.compile(r"\d+%\|.*\[\d+:\d+|it/s\]|s/it\]")
# The C library's allocator keeps what a step frees for the next one, where it would give large blocks back each time.
ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"


def notebook_of(stage: str) -> Path:
    """The notebook of one stage: notebooks/<number>_<stage>.ipynb.

    Raises:
        ValueError: No notebook, or more than one, has that name.
    """
    found = [path for path in NOTEBOOKS.glob("[0-9]*.ipynb") if stage_of(path) == stage]
    if len(found) != 1:
        stages = ", ".join(sorted(stage_of(path) for path in NOTEBOOKS.glob("[0-9]*.ipynb")))
        raise ValueError(f"unknown stage {stage!r}: the notebooks are {stages}")
    return found[0]


def stage_of(notebook: Path) -> str:
    """The stage that a notebook is.

    Example:
        >>> stage_of(Path("notebooks/100_alignment.ipynb"))
        'alignment'
    """
    return notebook.stem.partition("_")[2]


def check_names(notebook: Path, supplied: dict) -> None:
    """Compares the notebook's declared parameters with the supplied ones, both ways.

    Raises:
        ValueError: The names differ; both differences are listed.
    """
    from papermill.inspection import inspect_notebook

    declared = set(inspect_notebook(str(notebook)))
    only_notebook, only_params = sorted(declared - supplied.keys()), sorted(supplied.keys() - declared)
    if only_notebook or only_params:
        raise ValueError(
            f"{notebook.name}: parameters only in the notebook: {only_notebook}; only in params.yaml: {only_params}"
        )


def _write_cost(profile: str, stage: str, seconds: float) -> None:
    """Seconds of the stage and peak memory of its kernel (Linux counts it in KiB)."""
    peak_memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    path = cost_file(profile, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seconds": round(seconds, 1), "peak_memory_mb": round(peak_memory_mb)}) + "\n")


def smaller(png: bytes) -> bytes:
    """A picture with a palette of 128 colours: a third of the size, and nothing that the eye misses in a plot."""
    from PIL import Image

    reduced = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(128).save(reduced, format="PNG", optimize=True)
    return min(reduced.getvalue(), png, key=len)


def tidy(executed: Path) -> None:
    """Strips from an executed notebook what differs from run to run or names the machine: times, paths, progress.

    Its pictures are reduced, since executed notebooks are committed.
    """
    notebook = json.loads(executed.read_text(encoding="utf-8"))
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        cell["metadata"] = {"tags": cell["metadata"].get("tags", [])}
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                lines = "".join(output["text"]).splitlines(keepends=True)
                output["text"] = [line for line in lines if not PROGRESS.search(line)]
            elif picture := output.get("data", {}).get("image/png"):
                output["data"]["image/png"] = b64encode(smaller(b64decode(picture))).decode()
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    executed.write_text(text.replace(str(REPOSITORY), ".").replace(str(Path.home()), "~") + "\n", encoding="utf-8")


def executed_copy(stage: str, profile: str, ablation: str | None = None) -> Path:
    """Where the executed notebook of a stage, or of one of its ablations, goes."""
    notebook = notebook_of(stage)
    name = f"{notebook.stem}_{ablation}.ipynb" if ablation else notebook.name
    return reports_folder(profile) / "notebooks" / name


def run_stage(stage: str, profile: str, ablation: str | None = None) -> Path:
    """Executes one stage's notebook and returns the executed copy's path."""
    import papermill

    notebook, parameters = notebook_of(stage), stage_parameters(profile, stage)
    parameters |= {"ablation": ablation} if ablation else {}
    check_names(notebook, parameters)
    executed = executed_copy(stage, profile, ablation)
    executed.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"PYTHONPATH": str(REPOSITORY), "GLIBC_TUNABLES": ALLOCATOR}
    started = time.time()
    try:
        papermill.execute_notebook(
            str(notebook), str(executed), parameters=parameters, cwd=str(NOTEBOOKS), kernel_name="python3",
            progress_bar=False, stdout_file=sys.stdout, stderr_file=sys.stderr,
        )  # fmt: skip
    finally:
        tidy(executed)
    for picture in reports_folder(profile).rglob("*.png"):
        if picture.stat().st_mtime >= started:
            picture.write_bytes(smaller(picture.read_bytes()))
    _write_cost(profile, f"ablation_{ablation}" if ablation else stage, time.time() - started)
    return executed


def main() -> None:
    """Command line of the runner."""
    parser = argparse.ArgumentParser(prog="python -m vectok.runner", description=__doc__.splitlines()[0])
    parser.add_argument("stage", help="name of a notebook without its number: corpus, features, kmeans, ...")
    parser.add_argument("--profile", required=True, help="a key of profiles in params.yaml")
    parser.add_argument("--ablation", help="a key of ablations in params.yaml, for the notebooks of ablations")
    arguments = parser.parse_args()
    from papermill.exceptions import PapermillExecutionError

    try:
        run_stage(arguments.stage, arguments.profile, arguments.ablation)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except PapermillExecutionError as error:
        shown = executed_copy(arguments.stage, arguments.profile, arguments.ablation)
        sys.exit(f"error: stage {arguments.stage} failed: {error.ename}: {error.evalue} (cell by cell in {shown})")


if __name__ == "__main__":
    main()
