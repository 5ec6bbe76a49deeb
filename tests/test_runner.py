"""The runner is strict about names, and what it leaves behind names no machine and no time."""

import json
import sys

import nbformat
import pytest

from vectok import config, runner
from vectok.layout import REPOSITORY


def make_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


PARAMS = {
    "common": {"seed": 1, "scale": 1.0, "fit": {"n_steps": 3}},
    "profiles": {"smoke": {"fit": {"dim": 4}}, "embedded": {"fit": {"dim": 8}}},
}


def test_stage_parameters_join_common_and_own():
    expected = {"profile": "smoke", "seed": 1, "scale": 1.0, "n_steps": 3, "dim": 4}
    assert config.stage_parameters("smoke", "fit", PARAMS) == expected


@pytest.mark.parametrize(("profile", "stage", "named"), [("big", "fit", "smoke, embedded"), ("smoke", "fti", "fit")])
def test_unknown_profile_or_stage_is_named_with_what_exists(profile, stage, named):
    with pytest.raises(ValueError, match=named):
        config.stage_parameters(profile, stage, PARAMS)


def test_a_parameter_in_both_places_is_refused():
    twice = {"common": PARAMS["common"], "profiles": {"smoke": {"fit": {"n_steps": 4}}}}
    with pytest.raises(ValueError, match="n_steps"):
        config.stage_parameters("smoke", "fit", twice)


def test_names_are_compared_both_ways(tmp_path):
    notebook = make_notebook(tmp_path / "10_fit.ipynb", "n_steps: int = 3\ndim: int = 4")
    runner.check_names(notebook, {"n_steps": 1, "dim": 2})
    with pytest.raises(ValueError, match=r"only in the notebook: \['dim'\]; only in params.yaml: \['dmi'\]"):
        runner.check_names(notebook, {"n_steps": 1, "dmi": 2})


def test_tidy_removes_progress_times_and_paths(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")], metadata={"papermill": {"duration": 1}})
    text = f"steps: 12%|#  | 3/25 [00:01<00:09, 3.1it/s]\r\nwrote {REPOSITORY}/data\n"
    notebook.cells[0]["outputs"] = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    notebook.cells[0]["metadata"] = {"papermill": {"start_time": "now"}, "tags": ["metrics"]}
    nbformat.write(notebook, tmp_path / "executed.ipynb")
    runner.tidy(tmp_path / "executed.ipynb")
    tidied = json.loads((tmp_path / "executed.ipynb").read_text())
    assert "papermill" not in json.dumps(tidied)
    assert tidied["cells"][0]["outputs"][0]["text"] == ["wrote ./data\n"]
    assert tidied["cells"][0]["metadata"] == {"tags": ["metrics"]}


@pytest.mark.slow
@pytest.mark.enable_socket  # the kernel is reached over loopback
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("assert dim == 5, f'expected 5, got {dim}'", "expected 5, got 4"),
        ("import os; assert False, os.environ['GLIBC_TUNABLES']", "glibc.malloc.mmap_threshold=4294967296"),
    ],
)
def test_a_failing_cell_fails_the_stage_and_is_named(cell, message, tmp_path, monkeypatch, capsys):
    names = "profile: str = 'smoke'\nseed: int = 0\nscale: float = 1.0\ndim: int = 1"
    make_notebook(tmp_path / "10_fit.ipynb", names, cell)
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(runner, "reports_folder", lambda profile: tmp_path / "reports")
    own = {"profile": "smoke", "seed": 0, "scale": 1.0, "dim": 4}
    monkeypatch.setattr(runner, "stage_parameters", lambda profile, stage: own)
    monkeypatch.setattr(sys, "argv", ["runner", "fit", "--profile", "smoke"])
    with pytest.raises(SystemExit, match=f"stage fit failed: AssertionError: {message}"):
        runner.main()
    assert (tmp_path / "reports/notebooks/10_fit.ipynb").exists()


def test_an_unknown_stage_lists_the_notebooks(tmp_path, monkeypatch):
    make_notebook(tmp_path / "10_corpus.ipynb", "a: int = 1")
    monkeypatch.setattr(runner, "NOTEBOOKS", tmp_path)
    with pytest.raises(ValueError, match="the notebooks are corpus"):
        runner.notebook_of("korpus")


def test_pictures_get_smaller_and_stay_the_same_picture():
    from io import BytesIO

    import numpy as np
    from PIL import Image

    gradient = np.linspace(0, 255, 200 * 300 * 3).reshape(200, 300, 3).astype(np.uint8)
    noisy = gradient + np.random.default_rng(0).integers(0, 8, gradient.shape).astype(np.uint8) // 2
    png = BytesIO()
    Image.fromarray(noisy).save(png, format="PNG")
    reduced = runner.smaller(png.getvalue())
    assert len(reduced) < 0.6 * len(png.getvalue())
    difference = np.asarray(Image.open(BytesIO(reduced)).convert("RGB")).astype(int) - noisy
    assert np.abs(difference).mean() < 6
