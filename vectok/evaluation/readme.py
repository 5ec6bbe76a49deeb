"""Renders the results of a profile into README.md, between markers, from its CSV and JSON files alone.

``python -m vectok.evaluation.readme`` rewrites what stands between ``<!-- results:begin -->`` and
``<!-- results:end -->``; with ``--check`` it only says whether the README is up to date.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vectok.evaluation.language_markdown import LANGUAGE_SHOWN, LANGUAGE_TITLES
from vectok.evaluation.markdown import SHOWN, TITLES, grid, wide
from vectok.layout import REPOSITORY, reports_folder

MARKERS = re.compile(r"(<!-- results:begin -->\n).*?(<!-- results:end -->)", re.DOTALL)
CONVERSIONS = ("ground_truth", "vectok", "knn_vc_k4", "no_conversion", "random_target")
SIDES = ("all seen", "all unseen")
LANGUAGES = ("en", "es", "fr", "it", "ru", "all")


class Brief(NamedTuple):
    """What the README shows of a table; its page has all of it.

    Arguments:
        title: Of the section.
        metrics: Columns.
        conditions: Rows that are shown by condition; none for all.
        systems: Rows that are shown by system; none for all. Other weights of guidance stand where ``vectok`` stands.
        figure: Of ``reports/<profile>/figures``, under the table.
        zero_decibels: Of several signal-to-noise ratios 0 dB alone.
        joined: The conditions have different metrics and make one row.
    """

    title: str
    metrics: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    figure: str = ""
    zero_decibels: bool = False
    joined: bool = False

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Its rows of a table.

        Raises:
            ValueError: A condition that is to be shown stands nowhere in the table.
        """
        if missing := [condition for condition in self.conditions if condition not in set(table["condition"])]:
            raise ValueError(f"{self.title}: no condition {missing[0]!r} in the table, correct what the README shows")
        if self.conditions:
            table = table[table["condition"].isin(self.conditions)]
        if self.systems:
            dialled = table["system"].str.startswith("vectok_guidance") & ("vectok" in self.systems)
            table = table[table["system"].isin(self.systems) | dialled]
        if self.joined:
            table = table.assign(condition=", ".join(self.conditions))
        return table[~table["condition"].str.contains(r"[1-9]\d* dB$")] if self.zero_decibels else table


def _of(name: str, conditions: tuple[str, ...] = (), systems: tuple[str, ...] = (), figure: str = "") -> Brief:
    """A table whose title and columns are those of its page."""
    return Brief((TITLES | LANGUAGE_TITLES)[name], (SHOWN | LANGUAGE_SHOWN)[name], conditions, systems, figure)


QUALITY = ("cer", "dcer", "scs", "dnsmos_ovrl")
TABLES = {
    "codec": _of("codec", SIDES, ("ground_truth", "vocoder", "tokens")),
    "table1_vc_intra": _of("table1_vc_intra", SIDES, CONVERSIONS),
    "table2_vc_cross": _of("table2_vc_cross", SIDES, CONVERSIONS),
    "bitrate": _of("bitrate", ("all",)),
    "cost": _of("cost"),
}
LANGUAGE_TABLES = {
    "bits": _of("bits", ("all",)),
    "table3_tts": _of(
        "table3_tts", (*SIDES, "all seen known words"),
        ("ground_truth", "tokens", "tts", "tts_clvp", "tts_first", "style_transfer", "shuffled_text"),
    ),
    "table4_s2st": _of("table4_s2st", ("all",)),
    "asr": _of("asr", LANGUAGES, ("whisper_tokens", "lm", "shuffled_references")),
    "clvp_curve": _of("clvp_curve", ("16 candidates, 30 texts", "256 candidates, 10 texts"),
                      figure="language_tables_curve.png"),
}  # fmt: skip
TASK_TABLES = {
    "bitstream": Brief(
        "The .vtok file", ("entropy_bits_per_second", "payload_bits_per_second", "file_bits_per_second"),
        ("one stream", "files"), ("vtok", "pieces, zstd", "pieces, xz", "tokens, zstd", "tokens, xz"),
    ),
    "anonymise": Brief("Anonymisation", ("eer", "dcer"), ("semi_informed", "utility"), figure="tasks_privacy.png",
                       joined=True),
    "denoise": Brief("Denoising, 0 dB", (*QUALITY, "stoi"), zero_decibels=True),
    "bandwidth": Brief("Bandwidth extension", (*QUALITY, "lsd", "lsd_high")),
}  # fmt: skip


def rendered(profile: str) -> str:
    """What stands between the markers: targets and tables in brief, of each part whose stages have run.

    Raises:
        ValueError: The profile has no tables.
    """
    folder = reports_folder(profile)
    for name in TABLES:
        if not (path := folder / "tables" / f"{name}.csv").is_file():
            raise ValueError(f"no {path.relative_to(REPOSITORY)}: run make repro first")
    parts = _targets(folder / "tables" / "targets.json", "What it must reach, and does")
    parts += _sections(folder, "tables", TABLES)
    parts += _targets(folder / "language_tables" / "language_targets.json", "What the language side must reach")
    parts += _sections(folder, "language_tables", LANGUAGE_TABLES) + _sections(folder, "task_tables", TASK_TABLES)
    if (page := folder / "ablations" / "ablations.md").is_file():
        parts += ["### Ablations", f"All of them, and what differs: [ablations]({page.relative_to(REPOSITORY)})."]
    return "\n\n".join(parts) + "\n"


def _sections(folder: Path, kind: str, briefs: Mapping[str, Brief]) -> list[str]:
    """Heading, table, figure and a link to the page, of each table that is there."""
    parts = []
    for name, shown in briefs.items():
        if not (path := folder / kind / f"{name}.csv").is_file():
            continue
        parts += [f"### {shown.title}", wide(shown.of(pd.read_csv(path)), shown.metrics)]
        figure = folder / "figures" / shown.figure
        parts += [f"![{shown.title}]({figure.relative_to(REPOSITORY)})"] if shown.figure and figure.is_file() else []
        parts.append(f"All rows, intervals and judges: [{name}]({path.with_suffix('.md').relative_to(REPOSITORY)}).")
    return parts


def _targets(path: Path, title: str) -> list[str]:
    """A heading and what must be reached, if its stage has run."""
    return [f"### {title}", targets_table(json.loads(path.read_text(encoding="utf-8")))] if path.is_file() else []


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
