"""Where everything lies, derived from one profile name.

data/<profile>/<stage>/ holds what a stage makes, reports/<profile>/ what people read, and .state/<profile>/<stage>/
what an interrupted stage needs to go on.
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = REPOSITORY / "notebooks"
DOWNLOADS = REPOSITORY / "data" / "downloads"
HASHES = REPOSITORY / "data" / "hashes"
LISTS = REPOSITORY / "data" / "lists"
SAMPLE = REPOSITORY / "data" / "sample"


def stage_folder(profile: str, stage: str) -> Path:
    """What one stage of one profile makes, tracked by DVC."""
    return REPOSITORY / "data" / profile / stage


def state_folder(profile: str, stage: str) -> Path:
    """What an interrupted stage resumes from, tracked by nothing."""
    return REPOSITORY / ".state" / profile / stage


def reports_folder(profile: str) -> Path:
    """Executed notebooks, tables, metrics and figures of one profile."""
    return REPOSITORY / "reports" / profile


def metrics_file(profile: str, stage: str) -> Path:
    """The JSON in which one stage leaves its numbers."""
    return reports_folder(profile) / "metrics" / f"{stage}.json"


def cost_file(profile: str, stage: str) -> Path:
    """Seconds and peak memory of one stage: what differs from run to run, kept apart from every metric."""
    return REPOSITORY / "data" / profile / "cost" / f"{stage}.json"
