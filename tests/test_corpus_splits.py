"""Properties of splits and test lists, on made-up corpora and on the sample."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectok.corpus.lists import (
    COLUMNS,
    ListConfig,
    Lists,
    check_committed,
    faults,
    make_lists,
    read_lists,
    voices_of,
    write_lists,
)
from vectok.corpus.splits import (
    NEAR,
    assign_splits,
    eligible_prompts,
    five_gram_overlap,
    group_prompts,
    near_pairs,
    word_match,
)
from vectok.layout import LISTS

CONFIG = ListConfig(
    n_codec_unseen=6,
    n_intra=6,
    n_cross=12,
    prompt_seconds=3.0,
    n_references=4,
    shortest_source_seconds=2.0,
    longest_source_seconds=10.0,
    shortest_reference_seconds=1.6,
    seed=1,
)
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"]


def corpus(n_prompts: int = 40, languages: tuple[str, ...] = ("en", "es", "fr")) -> pd.DataFrame:
    """A parallel corpus of one speaker a language, and another corpus of two unseen English speakers without texts."""
    rows = []
    for number in range(n_prompts):
        words = [WORDS[number % 12], WORDS[number // 12], f"w{'x' * number}"]
        for language in languages:
            text = " ".join([language, *words])
            rows.append(row("main", language, f"p{number:02d}", f"main-{language}", text, 2.0 + number % 3))
    for number in range(20):
        rows.append(row("far", "en", f"q{number:02d}", f"far-{'ab'[number % 2]}", "", 2.5))
    return pd.DataFrame(rows)


def row(corpus: str, language: str, name: str, speaker: str, text: str, seconds: float) -> dict[str, object]:
    return {
        "utterance": f"{corpus}/{language}/{name}",
        "speaker": speaker,
        "language": language,
        "text": text,
        "seconds": seconds,
        "split": "",
        "group": "",
        "corpus": corpus,
        "plain": True,
        "prompt": f"{corpus}/{name}",
    }


def split(
    rows: pd.DataFrame,
    seed: int = 1,
    n_test: int = 8,
    n_dev: int = 5,
    unseen: tuple[str, ...] = ("far-*",),
    voices: tuple[str, ...] = (),
):
    return assign_splits(rows, list(unseen), list(voices), n_test, n_dev, 2.0, seed)


def test_word_match_by_hand():
    assert word_match("a b c", "a b c") == 1.0
    assert word_match("a b", "b a") == 1.0
    assert word_match("a a b", "a b b") == pytest.approx(4 / 6)
    assert word_match("", "") == 0.0
    assert word_match("a", "b") == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=7), min_size=1, max_size=12))
def test_near_pairs_finds_what_comparing_everything_finds(sentences):
    texts = {str(number): " ".join(words) for number, words in enumerate(sentences)}
    found = {frozenset(pair) for pair in near_pairs(texts)}
    every = {
        frozenset((first, second))
        for first in texts
        for second in texts
        if first < second and word_match(texts[first], texts[second]) > NEAR
    }
    assert found == every


def test_groups_are_transitive_and_cross_languages():
    rows = corpus(4)
    chain = ["a b c d e f", "a b c d e g", "a b c d h g"]  # 1-2 and 2-3 match by 10/12, 1-3 by 8/12
    for number, text in enumerate(chain):
        rows.loc[(rows["prompt"] == f"main/p0{number}") & (rows["language"] == "fr"), "text"] = text
    groups = group_prompts(rows)
    assert groups["main/p00"] == groups["main/p01"] == groups["main/p02"] == "main/p00"
    assert groups["main/p03"] == "main/p03"


def test_lent_voices_change_no_other_split_and_no_list():
    rows = corpus()
    lent = pd.DataFrame([row("lent", "da", f"v{number}", "lent-da", "", 4.0) for number in range(9)])
    alone, together = split(rows), split(pd.concat([lent, rows], ignore_index=True), voices=("lent-*",))
    is_lent = together["speaker"] == "lent-da"
    assert set(together.loc[is_lent, "split"]) == {"voices"}
    rest = together[~is_lent].set_index("utterance")["split"]
    assert rest.to_dict() == alone.set_index("utterance")["split"].to_dict()
    assert all(a.equals(b) for a, b in zip(make_lists(alone, CONFIG), make_lists(together, CONFIG), strict=True))
    with pytest.raises(ValueError, match=r"voice_speakers: 'nobody-\*' fits no speaker"):
        split(rows, voices=("nobody-*",))


@pytest.mark.parametrize("seed", range(5))
def test_splits_keep_their_promises(seed):
    rows = split(corpus(), seed)
    seen = rows[rows["split"] != "unseen"]
    assert (seen.groupby("group")["split"].nunique() == 1).all()
    assert (seen.groupby("prompt")["split"].nunique() == 1).all(), "the same split in all languages"
    assert set(rows.loc[rows["split"] == "unseen", "speaker"]) == {"far-a", "far-b"}
    assert not set(rows.loc[rows["split"] == "unseen", "speaker"]) & set(seen["speaker"])
    for language in ("en", "es", "fr"):
        counts = seen[seen["language"] == language]["split"].value_counts()
        assert counts["test"] >= 8 and counts["dev"] >= 5


def test_splits_depend_on_the_seed_but_not_on_the_order_of_rows():
    rows = corpus()
    first = split(rows).set_index("utterance")["split"]
    again = split(rows.sample(frac=1, random_state=3)).set_index("utterance")["split"]
    assert first.sort_index().equals(again.sort_index())
    assert not first.equals(split(rows, seed=2).set_index("utterance")["split"])


def test_what_is_short_missing_or_not_plain_is_never_counted():
    rows = corpus(20)
    rows.loc[rows["utterance"] == "main/es/p00", "seconds"] = 1.9
    rows.loc[rows["utterance"] == "main/fr/p01", "plain"] = False
    rows = rows[rows["utterance"] != "main/en/p02"]
    main = rows[rows["corpus"] == "main"]
    assert eligible_prompts(main, 2.0) == {f"main/p{number:02d}" for number in range(3, 20)}
    with pytest.raises(ValueError, match="test: 17 of 18 testable prompts in main: lower n_test"):
        split(rows, n_test=18, n_dev=0)


def test_a_corpus_own_split_wins():
    rows = corpus()
    rows.loc[rows["prompt"] == "main/p05", "split"] = "test"
    rows.loc[rows["prompt"] == "main/p06", "split"] = "dev"
    splits = split(rows, n_test=1, n_dev=1).drop_duplicates("prompt").set_index("prompt")["split"]
    assert splits["main/p05"] == "test" and splits["main/p06"] == "dev"
    assert (splits.loc["main/p00":"main/p39"] == "train").sum() == 38


def test_each_corpus_has_its_own_test_prompts():
    rows = split(corpus(), n_dev=2, unseen=("far-a",))
    counts = rows[rows["split"] == "test"].drop_duplicates("prompt").groupby("corpus").size()
    assert counts.to_dict() == {"far": 8, "main": 8}


def test_bad_patterns_of_unseen_speakers():
    with pytest.raises(ValueError, match="'nobody' fits no speaker"):
        split(corpus(), unseen=("nobody",))
    with pytest.raises(ValueError, match="leaves no speaker for training"):
        split(corpus(), unseen=("*",))


def test_five_gram_overlap_by_hand():
    rows = pd.DataFrame({"language": "en", "split": ["train", "test"], "text": ["a b c d e f", "b c d e f g"]})
    assert five_gram_overlap(rows) == {"en": 0.5}


@pytest.mark.parametrize("seed", range(3))
def test_lists_keep_their_promises(seed):
    rows, config = split(corpus(), seed), replace(CONFIG, seed=seed)
    lists = make_lists(rows, config)
    assert faults(lists, rows, config) == []
    assert tuple(lists.codec.columns) == tuple(lists.vc.columns) == COLUMNS
    test = rows[(rows["split"] == "test")]
    assert set(test["utterance"]) <= set(lists.codec["source"]), "every test utterance is resynthesised"
    counts = lists.vc.groupby(["task", "seen"]).size()
    assert counts["vc_cross", True] == 12 and counts["vc_cross", False] == 12
    assert counts["vc_intra", True] == 6 and counts["vc_intra", False] == 6
    cross = lists.vc[lists.vc["task"] == "vc_cross"]
    assert cross[cross["seen"]]["condition"].nunique() == 6, "all directions between three languages"


def test_lists_do_not_depend_on_the_order_of_rows():
    rows = split(corpus())
    first, again = make_lists(rows, CONFIG), make_lists(rows.sample(frac=1, random_state=3), CONFIG)
    assert all(one.equals(two) for one, two in zip(first, again, strict=True))


def test_voices_with_little_speech_are_no_targets():
    rows = split(corpus())
    assert set(voices_of(rows, CONFIG)) == {"main-en", "main-es", "main-fr", "far-a", "far-b"}
    rows.loc[rows["speaker"] == "far-a", "seconds"] = 1.0
    assert "far-a" not in voices_of(rows, CONFIG)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("source", "main/en/p00", "its source stands in train or dev"),
        ("prompt", "far/en/q00 far/en/q02", "another speaker's"),
        ("reference", "", "fewer than three"),
    ],
)
def test_faults_finds_broken_promises(column, value, says):
    rows = split(corpus(), n_test=8)
    rows.loc[rows["prompt"] == "main/p00", "split"] = "train"
    lists = make_lists(rows, CONFIG)
    lists.codec.loc[lists.codec["target_speaker"] == "main-en", column] = value
    assert any(says in fault for fault in faults(lists, rows, CONFIG))


def test_committed_lists_are_compared(tmp_path):
    lists = make_lists(split(corpus()), CONFIG)
    assert not check_committed(lists, tmp_path)
    write_lists(lists, tmp_path)
    assert check_committed(lists, tmp_path)
    other = Lists(lists.codec.iloc[1:], lists.vc)
    with pytest.raises(ValueError, match=r"codec\.csv differs"):
        check_committed(other, tmp_path)
    (tmp_path / "vc.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns"):
        read_lists(tmp_path)
    with pytest.raises(ValueError, match="no test list"):
        read_lists(tmp_path / "nowhere")


def test_committed_lists_of_the_embedded_profile_have_the_promised_rows():
    codec, vc = read_lists(LISTS / "embedded")
    seen = codec[codec["seen"]]
    assert set(seen["condition"]) == {"en", "es", "fr", "it", "ru"}
    assert (seen.groupby("condition").size() >= 40).all()
    assert len(codec[~codec["seen"]]) >= 30
    intra, cross = vc[vc["task"] == "vc_intra"], vc[vc["task"] == "vc_cross"]
    assert set(intra["condition"]) == {"en", "es"}
    assert (intra.groupby(["condition", "seen"]).size() == 20).all()
    assert cross[cross["seen"]]["condition"].nunique() == 20
    assert (cross.groupby("seen").size() == 40).all()
    unseen = vc[~vc["seen"]]
    assert unseen["source"].str.startswith("asterisk/").all()
    assert unseen["target_speaker"].str.startswith("drascula-").all()
