"""The whole pipeline on the committed sample, in a temporary clone, so that this checkout stays as it is.

``python -m vectok.smoke`` clones the repository, lays the uncommitted changes over the clone, sets ``run_profiles`` to
the smoke profile, runs ``dvc repro`` and copies the clone's reports/smoke to --keep when that is given.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vectok.layout import REPOSITORY


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def clone_with_changes(folder: Path) -> None:
    """Clones this checkout into ``folder``, uncommitted changes and new files included, deletions too."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    for name in _git("ls-files", "-z", "--modified", "--others", "--exclude-standard", "--deduplicate").split("\0"):
        source, target = REPOSITORY / name, folder / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        elif name and not source.exists():
            target.unlink(missing_ok=True)


def select_profile(folder: Path, profile: str) -> None:
    """Makes ``dvc repro`` in ``folder`` mean another profile."""
    params = folder / "params.yaml"
    text, n_changed = re.subn(r"(?m)^run_profiles:.*$", f"run_profiles: [{profile}]", params.read_text("utf-8"))
    if n_changed != 1:
        raise ValueError(f"{params}: expected one line run_profiles, got {n_changed}")
    params.write_text(text, encoding="utf-8")


def run_in_clone(profile: str, folder: Path) -> None:
    """Runs the pipeline of one profile in a fresh clone at ``folder``."""
    clone_with_changes(folder)
    select_profile(folder, profile)
    # The stages call `python`: let it be this one.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment).returncode:
        raise ValueError(f"the {profile} pipeline failed: see its output above")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m vectok.smoke", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="smoke", help="a key of profiles in params.yaml")
    parser.add_argument("--keep", type=Path, help="folder that receives the run's reports")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vectok-") as temporary:
        folder = Path(temporary) / "clone"
        try:
            run_in_clone(arguments.profile, folder)
        except ValueError as error:
            sys.exit(f"error: {error}")
        if arguments.keep:
            shutil.copytree(folder / "reports" / arguments.profile, arguments.keep, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
