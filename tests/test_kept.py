"""What was made is read, in the same groups, and anything that decides it makes it anew."""

import math
from typing import NamedTuple

import pytest

from tests import wiring
from vectok.evaluation import kept


class Job(NamedTuple):
    """A word to be doubled."""

    word: str


JOBS = [Job(word) for word in ("one", "two", "three")]


def double(group):
    """Makes and counts."""
    double.groups.append([job.word for job in group])
    return [[job.word * 2, math.nan if job.word == "two" else 0.1 + 0.2] for job in group]


@pytest.fixture(autouse=True)
def _no_groups():
    double.groups = []


def test_a_killed_run_goes_on_with_its_groups(tmp_path):
    def killed(group):
        if group[0].word == "three":
            raise KeyboardInterrupt
        return double(group)

    with pytest.raises(KeyboardInterrupt):
        kept.Kept(tmp_path / "kept", "models").each("tts", JOBS, 2, killed)
    found = kept.Kept(tmp_path / "kept", "models").each("tts", JOBS, 2, double)
    assert double.groups == [["one", "two"], ["three"]], "each group once"
    assert [word for word, _ in found] == ["oneone", "twotwo", "threethree"]
    assert found[0][1] == 0.1 + 0.2 and math.isnan(found[1][1]), "to the last bit"
    assert repr(kept.Kept(tmp_path / "kept", "models").each("tts", JOBS, 2, double)) == repr(found)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    "decided_by, task, jobs, n_at_once",
    [
        ("other models", "tts", JOBS, 3),
        ("models", "tts 4", JOBS, 3),
        ("models", "tts", JOBS[:2], 3),
        ("models", "tts", JOBS[::-1], 3),
        ("models", "tts", JOBS, 2),
    ],
)
def test_all_that_decides_a_group_makes_it_anew(tmp_path, decided_by, task, jobs, n_at_once):
    kept.Kept(tmp_path, "models").each("tts", JOBS, 3, double)
    double.groups.clear()
    kept.Kept(tmp_path, decided_by).each(task, jobs, n_at_once, double)
    assert [word for group in double.groups for word in group] == [job.word for job in jobs]


def test_one_result_a_job(tmp_path):
    with pytest.raises(ValueError, match="expected 3 results, one a job, got 1"):
        kept.Kept(tmp_path, "models").each("tts", JOBS, 3, lambda group: ["all"])
    assert not list(tmp_path.iterdir())


def test_speech_is_decided_by_models_and_code(tmp_path, monkeypatch):
    package, model = tmp_path / "vectok", tmp_path / "lm"
    (package / "lm").mkdir(parents=True)
    model.mkdir()
    for file in (package / "__init__.py", package / "lm" / "generation.py", model / "model.safetensors"):
        file.write_text("first")
    monkeypatch.setattr(kept, "SPEAKING", ("lm",))
    monkeypatch.setattr(kept.vectok, "__file__", str(package / "__init__.py"))
    first = kept.speaking_hash([model])
    (package / "lm" / "generation.pyc").write_text("compiled")
    (package / "cli.py").write_text("says nothing itself")
    assert kept.speaking_hash([model]) == first
    (package / "lm" / "generation.py").write_text("second")
    second = kept.speaking_hash([model])
    (model / "model.safetensors").write_text("second")
    assert len({first, second, kept.speaking_hash([model])}) == 3


def test_all_modules_behind_the_tasks_decide():
    """But for those that read corpora and write folders."""
    behind = wiring.reached("from vectok import language_tasks")
    others = {module for module in behind if not module.removeprefix("vectok/").startswith(kept.SPEAKING)}
    readers = "__init__ alignment alignment_hmm corpus/__init__ folders frames kmeans reproducibility store tokens"
    assert others == {f"vectok/{name}.py" for name in readers.split()}
    package = kept.Path(kept.vectok.__file__).parent
    assert all((package / name).exists() for name in kept.SPEAKING)
