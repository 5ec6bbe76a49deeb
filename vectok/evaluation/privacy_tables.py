"""The table of anonymisation: who is still known under which setting, what a voice keeps, and the curve of the two."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vectok.evaluation import attackers
from vectok.evaluation.privacy import ENROLMENT, ORIGINAL, RESYNTHESIS, TRIAL, Side, attack
from vectok.evaluation.scoring import NARROW, Request
from vectok.evaluation.statistics import Interval, difference, resampling
from vectok.evaluation.task_scores import TaskClip
from vectok.evaluation.task_tables import row_of

LIKELIEST = "semi_informed"  # the attacker that the curve is drawn for


class Listed(NamedTuple):
    """The lists with what a comparison needs: ``attacked`` is the group that a speaker is compared within.

    Arguments:
        rows: Enrolments and trials of all speakers; those of groups of one are only what others are re-centred on.
        name: For the tables.
        n_read: Trials whose words are read, at most.
    """

    rows: pd.DataFrame
    name: str
    n_read: int

    @property
    def trials(self) -> pd.DataFrame:
        """Trials of groups of two speakers or more."""
        is_compared = self.rows.groupby("attacked")["speaker"].transform("nunique") > 1
        return self.rows[is_compared & (self.rows["role"] == TRIAL)]

    @property
    def enrolments(self) -> pd.DataFrame:
        """Enrolments of all speakers."""
        return self.rows[self.rows["role"] == ENROLMENT]

    @property
    def read(self) -> pd.DataFrame:
        """The trials whose words are read, as many of each speaker."""
        each = max(1, self.n_read // max(1, self.trials["speaker"].nunique()))
        return self.trials.groupby("speaker").head(each).head(max(1, self.n_read))


def listed(rows: pd.DataFrame, within_language: bool, n_read: int, seed: int) -> Listed:
    """Lists of :func:`vectok.evaluation.privacy.choose_trials`, grouped.

    Arguments:
        rows: The lists.
        within_language: Whether speakers are compared within their language only.
        n_read: Trials whose words are read, at most.
        seed: That chose them, for the name.
    """
    group = rows["group"].where(rows["group"] != "", rows["utterance"])
    found = Listed(rows.assign(attacked=rows["language"] if within_language else "all", group=group), "", n_read)
    n_speakers = found.trials["speaker"].nunique()
    return found._replace(name=f"{len(found.trials)} trials of {n_speakers} speakers, seed {seed}")


def requests_of(lists: Listed, settings: Sequence[str]) -> list[Request]:
    """What is scored: every utterance under every setting as a narrow-band copy, some trials' words too."""
    read = set(lists.read["utterance"])
    return [
        Request(
            clip=f"{row.utterance}|{row.role}|{setting}",
            language=row.language,
            seconds=row.seconds,
            wants=frozenset({NARROW, *["transcript"] * (row.utterance in read)}),
        )
        for part in (lists.enrolments, lists.trials)
        for row in part.itertuples()
        for setting in settings
    ]


def side_of(lists: Listed, role: str, setting: str, vector_of: Callable[[str], Sequence[float]]) -> Side:
    """Vectors of the enrolments or trials under a setting, by clip."""
    rows = lists.enrolments if role == ENROLMENT else lists.trials
    vectors = [vector_of(f"{utterance}|{role}|{setting}") for utterance in rows["utterance"]]
    return Side(np.array(vectors, dtype=np.float64), rows["speaker"].to_numpy(), rows["attacked"].to_numpy())


def attack_rows(
    lists: Listed, settings: Sequence[str], embeddings: dict[str, list[float]], model: str, n_draws: int, seed: int
) -> pd.DataFrame:
    """Equal error rates of every attacker on every setting, and how distinct voices stay, in tidy form.

    Arguments:
        lists: Enrolments and trials.
        settings: To attack.
        embeddings: By clip.
        model: That made them.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    rows = []
    for setting in settings:
        trials = side_of(lists, TRIAL, setting, embeddings.__getitem__)
        for attacker in attackers.ATTACKERS:
            enrolled = ORIGINAL if attacker == "ignorant" else setting
            found = attack(attacker, trials, side_of(lists, ENROLMENT, enrolled, embeddings.__getitem__))
            interval = attackers.eer_interval(found, n_draws, seed)
            rows.append(row_of(setting, attacker, "eer", model, lists.name, interval))
            if attacker == "lazy_informed":  # both sides anonymised, nothing adapted: as a listener hears them
                distinct = distinct_voices(found, n_draws, seed)
                rows.append(row_of(setting, "voices", "distinctiveness", model, lists.name, distinct))
    return pd.DataFrame(rows)


def distinct_voices(trials: attackers.Trials, n_draws: int, seed: int) -> Interval:
    """How far voices can still be told apart, 0 when not at all: the mean score of targets minus that of impostors.

    Its interval is over trials, and over speakers where there are many.
    """
    pairs = pd.DataFrame(trials._asdict()).assign(of_one=trials.is_target)
    cells = pairs.groupby(["trial_speakers", "trial_numbers", "of_one"])["scores"].agg(value="sum", weight="count")
    cells = cells.reset_index().rename(columns={"trial_speakers": "speaker"})
    cells = cells.assign(group=cells["speaker"].astype(str) + " " + cells["trial_numbers"].astype(str))
    cells = cells.assign(item=cells["group"])
    draws = resampling(cells.drop_duplicates("item"), n_draws, seed)
    found = difference(cells[cells["of_one"]], cells[~cells["of_one"]], draws)
    return Interval(found.value, found.low, found.high, found.n)


def leak_rows(
    lists: Listed,
    setting: str,
    profiles: dict[str, Callable[[str], Float[np.ndarray, " features"]]],
    n_draws: int,
    seed: int,
) -> pd.DataFrame:
    """Equal error rates of re-centred attackers that hear no voice, only a profile of each clip.

    Arguments:
        lists: Enrolments and trials.
        setting: Whose clips.
        profiles: What is taken of a clip, by name.
        n_draws: Bootstrap draws.
        seed: Of the draws.
    """
    rows = []
    for name, profile_of in profiles.items():
        sides = [side_of(lists, role, setting, profile_of) for role in (TRIAL, ENROLMENT)]
        interval = attackers.eer_interval(attack(LIKELIEST, *sides), n_draws, seed)
        rows.append(row_of(setting, name, "eer", f"{name}, re-centred", lists.name, interval))
    return pd.DataFrame(rows)


def utility_clips(lists: Listed, settings: Sequence[str]) -> list[TaskClip]:
    """Rows whose words and melody are compared with the recording's."""
    return [
        TaskClip(
            setting, "utility", row.utterance, row.language, row.speaker, str(row.group), "",
            f"{row.utterance}|{TRIAL}|{setting}", f"{row.utterance}|{TRIAL}|{ORIGINAL}", (),
        )
        for setting in settings
        for row in lists.read.itertuples()
    ]  # fmt: skip


class Curve(NamedTuple):
    """Privacy against errors, the errors that privacy may cost, and the setting that is most private within them."""

    points: pd.DataFrame
    largest_dcer: float
    best: str | None


def curve_of(table: pd.DataFrame, largest_rise: float) -> Curve:
    """The privacy-utility curve of a tidy table.

    Arguments:
        table: With the semi-informed attacker's ``eer`` and ``dcer``.
        largest_rise: Points of dCER above resynthesis that privacy may cost.
    """
    attacked = table[(table["condition"] == LIKELIEST) & (table["metric"] == "eer")].set_index("system")
    errors = table[table["metric"] == "dcer"].set_index("system")["value"]
    points = attacked[["value", "low", "high"]].rename(columns={"value": "eer"}).assign(dcer=errors)
    points = points.dropna(subset=["eer", "dcer"])
    limit = float(points["dcer"].get(RESYNTHESIS, 0.0)) + largest_rise
    within = points.drop(index=[ORIGINAL, RESYNTHESIS], errors="ignore")
    within = within[within["dcer"] <= limit]
    return Curve(points, limit, str(within["eer"].idxmax()) if len(within) else None)
