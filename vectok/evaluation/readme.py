"""Renders the results of a profile into README.md, between markers, from its CSV and JSON files alone.

``python -m vectok.evaluation.readme`` rewrites what stands between ``<!-- results:begin -->`` and
``<!-- results:end -->``; with ``--check`` it only says whether the README is up to date.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import pandas as pd

from vectok.evaluation import language_markdown
from vectok.evaluation.language_markdown import LANGUAGE_SHOWN, LANGUAGE_TITLES
from vectok.evaluation.markdown import SHOWN, TITLES, grid, wide
from vectok.layout import REPOSITORY, reports_folder

MARKERS = re.compile(r"(<!-- results:begin -->\n).*?(<!-- results:end -->)", re.DOTALL)
BRIEF = {
    "codec": ({"seen", "unseen"}, ("ground_truth", "vocoder", "tokens")),
    "table1_vc_intra": ({"all"}, ("ground_truth", "vectok", "knn_vc_k4", "no_conversion", "random_target")),
    "table2_vc_cross": ({"all"}, ("ground_truth", "vectok", "knn_vc_k4", "no_conversion", "random_target")),
    "bitrate": ({"all"}, ("tokens", "tokens_deduplicated", "pieces")),
    "cost": (set(), ()),
}
LANGUAGE_BRIEF = ("bits", "table3_tts", "table4_s2st", "asr", "clvp_curve")
TASK_TABLES = {
    "bitstream": "The .vtok file",
    "anonymise": "Anonymisation",
    "denoise": "Denoising",
    "bandwidth": "Bandwidth extension",
}


def brief(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that the README shows: chosen systems, all languages together, seen and unseen apart."""
    words, systems = BRIEF[name]
    if systems:
        dialled = table["system"].str.startswith("vectok_guidance") & ("vectok" in systems)
        table = table[table["system"].isin(systems) | dialled]
    if words:
        kept = (
            table["condition"]
            .str.split()
            .map(lambda parts: parts[0] == "all" and (len(parts) > 1 or name == "bitrate"))
        )
        table = table[kept]
    return table


def rendered(profile: str) -> str:
    """What stands between the markers: targets and tables in brief, of each part whose stages have run.

    Raises:
        ValueError: The profile has no tables.
    """
    folder = reports_folder(profile)
    parts = _targets(folder / "tables" / "targets.json", "What it must reach, and does")
    for name in BRIEF:
        path = folder / "tables" / f"{name}.csv"
        if not path.is_file():
            raise ValueError(f"no {path.relative_to(REPOSITORY)}: run make repro first")
        parts += [f"### {TITLES[name]}", wide(brief(name, pd.read_csv(path)), SHOWN[name]), _link(profile, path)]
    parts += _targets(folder / "language_tables" / "language_targets.json", "What the language side must reach")
    for name in LANGUAGE_BRIEF:
        path = folder / "language_tables" / f"{name}.csv"
        if path.is_file():
            table = language_markdown.brief(name, pd.read_csv(path))
            parts += [f"### {LANGUAGE_TITLES[name]}", wide(table, LANGUAGE_SHOWN[name]), _link(profile, path)]
    pages = {title: folder / "task_tables" / f"{name}.csv" for name, title in TASK_TABLES.items()}
    links = [f"[{title}]({path.with_suffix('.md').relative_to(REPOSITORY)})" for title, path in pages.items()
             if path.is_file()]  # fmt: skip
    parts += ["### The codec as a product", f"Tables of profile {profile}: {', '.join(links)}."] if links else []
    return "\n\n".join(parts) + "\n"


def _targets(path: Path, title: str) -> list[str]:
    """A heading and what must be reached, if its stage has run."""
    return [f"### {title}", targets_table(json.loads(path.read_text(encoding="utf-8")))] if path.is_file() else []


def _link(profile: str, path: Path) -> str:
    page = path.with_suffix(".md").relative_to(REPOSITORY)
    return f"Profile {profile}; all rows, judges and the paper's cells: [{path.stem}]({page})."


def targets_table(targets: list[dict]) -> str:
    """What the system must reach and whether it does."""
    rows = [[target["requirement"], target["measured"], "yes" if target["met"] else "**no**"] for target in targets]
    return grid(rows, ["requirement", "measured", "met"])


def render(text: str, results: str) -> str:
    """Replaces what stands between the markers.

    Raises:
        ValueError: The text has no markers.
    Example:
        >>> render("<!-- results:begin -->\\nold\\n<!-- results:end -->", "new\\n")
        '<!-- results:begin -->\\nnew\\n<!-- results:end -->'
    """
    if not MARKERS.search(text):
        raise ValueError("no markers <!-- results:begin --> and <!-- results:end --> in the README: put them back")
    return MARKERS.sub(lambda match: match[1] + results + match[2], text)


def main(readme: Path = REPOSITORY / "README.md") -> None:
    """Command line: rewrites the README, or with --check fails when that would change it."""
    parser = argparse.ArgumentParser(prog="python -m vectok.evaluation.readme", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when the README is out of date")
    parser.add_argument("--profile", default="embedded", help="whose results are shown")
    arguments = parser.parse_args()
    try:
        old = readme.read_text(encoding="utf-8")
        new = render(old, rendered(arguments.profile))
    except ValueError as error:
        sys.exit(f"error: {error}")
    if arguments.check and new != old:
        sys.exit("README.md is out of date: run python -m vectok.evaluation.readme")
    if new != old:
        readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
