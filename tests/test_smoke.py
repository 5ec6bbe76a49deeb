"""The smoke pipeline, from a clone, to its tables; and a second run that has nothing to do."""

import json
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.wiring import STAGES
from vectok import smoke
from vectok.layout import REPOSITORY

# The sample has one voice a language: nobody to convert to within a language, so no table 1.
TABLES = ("codec", "table2_vc_cross", "bitrate", "cost")
COLUMNS = ["system", "condition", "metric", "model", "test_list", "unit", "value", "low", "high", "n"]


def status_of_checkout():
    command = ["git", "status", "--porcelain"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    before = status_of_checkout()
    folder = tmp_path_factory.mktemp("smoke") / "clone"
    smoke.run_in_clone("smoke", folder)
    assert status_of_checkout() == before, "running a profile in a clone changed this checkout"
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_table_is_tidy(clone, table):
    found = pd.read_csv(clone / f"reports/smoke/tables/{table}.csv")
    assert list(found.columns) == COLUMNS
    assert len(found)
    assert not found.duplicated(["system", "condition", "metric", "model", "test_list"]).any()
    bounded = found.dropna(subset=["low", "high"])
    assert (bounded["low"] <= bounded["value"] + 1e-9).all()
    assert (bounded["value"] <= bounded["high"] + 1e-9).all()


@pytest.mark.slow
def test_other_profiles_and_committed_files_stay_as_they_were(clone):
    command = ["git", "status", "--porcelain", "--", "reports/embedded", "data/lists", "vectok", "notebooks"]
    clean = subprocess.run(["git", "stash", "list"], cwd=clone, capture_output=True, text=True, check=True)
    assert clean.stdout == ""
    changed = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout
    expected = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert changed == expected


@pytest.mark.slow
def test_every_stage_left_its_metrics_and_notebook(clone):
    assert {stage["matrix"]["profile"] for stage in STAGES.values()} == {"${run_profiles}"}
    for stage in STAGES:
        assert json.loads((clone / f"reports/smoke/metrics/{stage}.json").read_text())
        assert next((clone / "reports/smoke/notebooks").glob(f"[0-9]*_{stage}.ipynb"))


@pytest.mark.slow
def test_second_run_does_nothing_in_six_seconds(clone):
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=clone, capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 6
    assert "Running stage" not in done.stdout


@pytest.mark.slow
def test_release_packs_what_the_readme_snippet_runs_on(clone):
    """`make release`, then the README's Python, word for word but for the profile's name."""
    release = [sys.executable, "-m", "vectok.release", "--profile", "smoke"]
    subprocess.run(release, cwd=clone, check=True, capture_output=True, text=True)
    recordings = sorted((clone / "data/sample/asterisk/en").rglob("*.g722"))[:2]
    convert = [sys.executable, "-m", "vectok.cli", "convert", str(recordings[0]), "--target", str(recordings[1])]
    convert += ["--model", "dist/vectok-smoke", "--out", "converted"]
    subprocess.run(convert, cwd=clone, check=True, capture_output=True, text=True)
    assert len(list((clone / "converted").iterdir())) == 1
    for name, recording in zip(("source.wav", "me.wav"), recordings, strict=True):
        code = f"from vectok import audio; audio.write({name!r}, audio.read({str(recording)!r}))"
        subprocess.run([sys.executable, "-c", code], cwd=clone, check=True)
    blocks = (REPOSITORY / "README.md").read_text().split("```python\n")[1:]
    snippet = "".join(block.split("```")[0] for block in blocks).replace('"embedded"', '"smoke"')
    subprocess.run([sys.executable, "-c", snippet], cwd=clone, check=True)
    assert (clone / "source.vtok").stat().st_size > 0
