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


def brief(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table that the README shows: chosen systems, all languages together, seen and unseen apart."""
    words, systems = BRIEF[name]
    if systems:
        table = table[table["system"].isin(systems)]
    if words:
        kept = (
            table["condition"]
            .str.split()
            .map(lambda parts: parts[0] == "all" and (len(parts) > 1 or name == "bitrate"))
        )
        table = table[kept]
    return table


def rendered(profile: str) -> str:
    """What stands between the markers: the targets, then each table in brief.

    Raises:
        ValueError: The profile has no tables.
    """
    folder, parts = reports_folder(profile) / "tables", []
    if (targets := folder / "targets.json").is_file():
        parts += ["### What it must reach, and does", targets_table(json.loads(targets.read_text(encoding="utf-8")))]
    for name in BRIEF:
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise ValueError(f"no {path.relative_to(REPOSITORY)}: run make repro first")
        page = path.with_suffix(".md").relative_to(REPOSITORY)
        link = f"Profile {profile}; all rows, judges and the paper's cells: [{name}]({page})."
        parts += [f"### {TITLES[name]}", wide(brief(name, pd.read_csv(path)), SHOWN[name]), link]
    return "\n\n".join(parts) + "\n"


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
