"""Results of long work, kept group by group as they come, so that a killed stage does nothing twice."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

import vectok

# All that decides what the language models say, below the package: beside their weights and settings.
SPEAKING = (
    "lm", "clvp", "text", "corpus/text.py", "bpe.py", "conformer.py", "language_tasks.py", "language_items.py",
)  # fmt: skip


def files_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of files and of all files in folders, but for compiled ones."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def speaking_hash(folders: Iterable[Path]) -> str:
    """Hash of the language models' folders, of the code that speaks with them, and of torch's version.

    Arguments:
        folders: What the lm and clvp stages left.
    """
    package = Path(vectok.__file__).parent
    return f"{files_hash([*folders, *(package / name for name in SPEAKING)])} {torch.__version__}"


class Kept:
    """JSON files in a folder, one a group of jobs, named by the hash of all that decides its results.

    Arguments:
        folder: Made when the first group is done.
        decided_by: What decides the results beside the jobs: models, code, settings.
    """

    def __init__(self, folder: Path, decided_by: str) -> None:
        self.folder, self.decided_by = folder, decided_by

    def each(self, task: str, jobs: Sequence[tuple], n_at_once: int, make: Callable[[Sequence[tuple]], list]) -> list:
        """One result for each job, made or read; the same lists and values in both cases.

        Groups begin at the same jobs in every run, so that a job has the same company.

        Arguments:
            task: Its name and settings, which decide too.
            jobs: All that decides each result.
            n_at_once: Jobs of a group.
            make: Results of a group, such as JSON can hold.
        """
        groups = [jobs[start : start + n_at_once] for start in range(0, len(jobs), n_at_once)]
        return [result for group in groups for result in self._group(task, group, make)]

    def _group(self, task: str, group: Sequence[tuple], make: Callable[[Sequence[tuple]], list]) -> list:
        decided_by = json.dumps([self.decided_by, task, group])
        path = self.folder / f"{hashlib.sha256(decided_by.encode()).hexdigest()}.json"
        if not path.exists():
            results = make(group)
            if len(results) != len(group):
                raise ValueError(f"{task}: expected {len(group)} results, one a job, got {len(results)}")
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(results), encoding="utf-8")
            partial.rename(path)
        return json.loads(path.read_text(encoding="utf-8"))
