"""Plans, takes, scores, tables and targets of the language side, on small worked cases."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sacrebleu.metrics import BLEU, CHRF

from tests.synthetic import make_store
from tests.tiny_language import make_all
from tests.tiny_system import DIM, ToyEncoder
from vectok import language, language_tasks, tokens
from vectok.corpus.lists import COLUMNS as LIST_COLUMNS
from vectok.corpus.lists import Lists
from vectok.evaluation import (
    language_curve,
    language_examples,
    language_markdown,
    language_numbers,
    language_plan,
    language_plays,
    language_rows,
    language_scores,
    language_speed,
    language_tables,
    language_takes,
    language_targets,
    language_translation,
    systems,
    tables,
)
from vectok.evaluation.kept import Kept
from vectok.evaluation.language_generation import Said, Studio
from vectok.evaluation.metrics import ErrorCounts
from vectok.language_items import Heard
from vectok.lm.writing import Written

NUMBERS = ("one", "two", "three", "four", "five", "six")


def items(n_items: int = 4, languages: tuple[str, ...] = ("en", "es")) -> pd.DataFrame:
    """Test items; every other one has known words only."""
    rows = [
        (f"a/{code}/{n}", code, f"a-{code}", f"g{n}", f"press {NUMBERS[n]}", 2.0 + n,
         n % 2 == 0, ("a/p",), ("a/r", "a/s"), str(n))
        for code in languages
        for n in range(n_items)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(language_plan.COLUMNS))


def index() -> pd.DataFrame:
    """Training texts of three words, test texts of known and of other words, one of them not Latin."""
    texts = {"t1": "press one", "t2": "two", "t3": "о"}
    tests = {"1": "press two", "2": "press nine", "3": "nine", "4": "one two", "5": "два"}
    rows = [(f"a/en/{n}", "en", "train", text) for n, text in texts.items()]
    rows += [(f"a/en/{n}", "en", "test", text) for n, text in tests.items()]
    frame = pd.DataFrame(rows, columns=["utterance", "language", "split", "text"])
    return frame.assign(speaker="a-en", group="", seconds=3.0, bandwidth_hz=7000.0)


def words_of(text: str, code: str) -> list[str]:
    from vectok.text import FrontEnd

    return FrontEnd.load(code).words(text)


def lists() -> Lists:
    rows = [("codec", "en", f"a/en/{n}", "a-en", "a/en/t1", "a/en/t2", True) for n in "12345"]
    rows += [("codec", "en", "d/en/1", "d-en", "a/en/t1", "a/en/t2", False)]
    frame = pd.DataFrame(rows, columns=list(LIST_COLUMNS))
    return Lists(frame, frame.iloc[:0])


def test_items_alternate_between_known_and_other_words_and_skip_unreadable_texts():
    found = language_plan.texts_to_test(lists(), index(), words_of, ["en"], seed=0)
    assert sorted(found["item"]) == ["a/en/1", "a/en/2", "a/en/3", "a/en/4"]
    assert found["known"].tolist() == [True, False, True, False]
    assert set(found.loc[found["known"], "item"]) == {"a/en/1", "a/en/4"}
    assert found["name"].tolist() == [item.split("/")[-1] for item in found["item"]]
    again = language_plan.texts_to_test(lists(), index().iloc[::-1], words_of, ["en"], seed=0)
    assert again["item"].tolist() == found["item"].tolist()
    assert [voice.speaker for voice in language_plan.unseen_voices(lists(), index())] == ["d-en"]


def test_no_item_of_a_language_that_the_models_speak_is_an_error():
    with pytest.raises(ValueError, match="no test text"):
        language_plan.texts_to_test(lists(), index(), words_of, ["fr"], seed=0)


def test_pairs_have_the_same_ids_in_all_directions():
    pairs = language_plan.pairs(items(4, ("en", "es", "fr")), 2, seed=0)
    names = {pair.direction: [] for pair in pairs}
    for pair in pairs:
        assert pair.source.split("/")[2] == pair.target.split("/")[2]
        names[pair.direction].append(pair.source.split("/")[2])
    assert len(names) == 6 and len(set(map(tuple, names.values()))) == 1 and len(pairs) == 12


def test_stand_ins_are_other_texts_of_like_length():
    texts = ["a" * n for n in range(1, 17)]
    found = language_plan.length_quartile_shuffle(texts, seed=0, n_shuffles=5)
    for place, own in enumerate(found):
        assert len(own) == 5 and texts[place] not in own
        assert {(len(text) - 1) // 4 for text in own} == {place // 4}


def test_languages_take_turns():
    chosen = language_plan.spread(items(3), 4)
    assert chosen["item"].tolist() == ["a/en/0", "a/es/0", "a/en/1", "a/es/1"]
    assert language_plan.first(items(3), 1)["item"].tolist() == ["a/en/0", "a/es/0"]


SAID = ["please enter the number now", "goodbye my friend", "one", "aaa bbb"]
MEANT = ["please enter your number", "good bye my dear friend", "two three", "press aaa"]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_bleu_and_chrf_are_those_of_sacrebleu(n):
    said, meant = SAID[:n], MEANT[:n]
    sums = language_translation.sums_of(said, meant, "en")
    expected = {"bleu": BLEU().corpus_score(said, [meant]).score, "chrf": CHRF().corpus_score(said, [meant]).score}
    for name, formula in language_translation.FORMULAS.items():
        assert float(formula(getattr(sums, name).sum(0))) == pytest.approx(expected[name], abs=1e-9)
    assert all("version:" in signature for signature in language_translation.signatures().values())


def test_the_same_words_score_a_hundred_and_silence_none():
    for said, value in ((MEANT, 100.0), (["", "", "", ""], 0.0)):
        sums = language_translation.sums_of(said, MEANT, "en")
        assert float(language_translation.chrf_of(sums.chrf.sum(0))) == pytest.approx(value)
    assert float(language_translation.bleu_of(sums.bleu.sum(0))) == 0.0


def translations() -> pd.DataFrame:
    """Two directions; s2st is right in all of the first and in none of the second; the floor is never right."""
    rows = []
    for direction, right in (("es-en", True), ("fr-en", False)):
        for n, text in enumerate(MEANT):
            common = (f"{direction}{n}", direction, "en", f"g{n}")
            rows.append(("s2st", *common, text if right else "zzz", text, text))
            rows += [(f"shuffled_references#{k}", *common, text if right else "zzz", text, "qqq") for k in range(2)]
    columns = ["system", "item", "language", "content_language", "group", "transcript", "written", "text"]
    return pd.DataFrame(rows, columns=columns)


def test_translation_rows_have_every_direction_and_their_mean():
    rows = language_tables.translation_rows(translations(), "asr", "list", n_draws=200, seed=0)
    table = language_tables.table_of(rows)
    assert tuple(table.columns) == tables.COLUMNS
    found = {key: tables.lookup(table, *key).value for key in (("s2st", c, "chrf") for c in ("es-en", "fr-en", "all"))}
    assert list(found.values()) == [100.0, 0.0, 50.0]
    assert table["model"].str.contains("version:").all()


def test_texts_that_nobody_speaks_stand_beside_the_translations():
    said = pd.DataFrame(
        [("s2st", "a/es/0>en", "es-en", "en", "g", "x", "y", "press two"),
         ("shuffled_references#0", "a/es/0>en", "es-en", "en", "g", "x", "y", "z")],
        columns=["system", "item", "language", "content_language", "group", "transcript", "written", "text"],
    )  # fmt: skip
    found = language_translation.with_texts(said, {"a/es/0>en": "press one"})
    (alone,) = found[found["system"] == language_translation.UNSPOKEN].itertuples()
    assert alone.written == "press one" and alone.transcript == "" and alone.text == "press two" and len(found) == 3
    assert language_translation.with_texts(said, {}).equals(said)


def test_a_direction_is_above_its_floor_when_the_interval_says_so():
    rows = language_tables.translation_differences(translations(), "s2st", "shuffled_references", 200, 0)
    frame = language_tables.corrected(rows)
    own = frame[frame["metric"] == "chrf"].set_index("condition")
    assert own.at["es-en", "low"] > 0 and own.at["fr-en", "low"] == own.at["fr-en", "high"] == 0
    target = language_targets.evaluate({}, frame)[0]
    assert target.met and target.measured.startswith("1 of 2")


def tried(name: str, clvp: list[float], likelihood: list[float], errors: dict[int, int]) -> language_curve.Tried:
    row = language_rows.tts_row(next(items(1).itertuples()), "choice", "c", VOICE, True)._replace(item=name, group=name)
    counts = {n: ErrorCounts(wrong, 10) for n, wrong in errors.items()}
    both = np.array(clvp) + np.array(likelihood)
    return language_curve.Tried(row, language_curve.Judged(both, np.array(clvp), np.array(likelihood)), counts)


VOICE = language_plan.Voice("v", ("a/p",), ("a/r",), False)


def test_the_curve_by_hand():
    one = tried("x", [0.1, 0.9, 0.3, 0.2], [0.0, -1.0, -1.0, 0.5], {0: 4, 1: 2, 3: 8})
    assert language_curve.to_read(one.judged, 2) == [0, 1, 3]
    expected = {("both", 2): 4, ("both", 4): 8, ("clvp", 1): 4, ("clvp", 4): 2, ("likelihood", 2): 4,
                ("likelihood", 4): 8, ("random", 2): 3, ("random", 4): 3, ("asr", 2): 2}  # fmt: skip
    for (choice, n), errors in expected.items():
        assert language_curve.errors_of(one, choice, n, n_read=2) == (errors, 10.0), (choice, n)
    assert language_curve.errors_of(one, "asr", 4, n_read=2) is None


def test_the_curve_compares_clvp_with_random_choice_on_the_same_texts():
    texts = [tried(f"t{n}", [0.0, 1.0], [1.0, 0.0], {0: 6, 1: 2 + n}) for n in range(3)]
    curve = language_curve.curve_scores(texts, n_read=2)
    assert set(curve["condition"]) == {"1 candidates, 3 texts", "2 candidates, 3 texts"}
    rows, apart = language_curve.curve_rows(curve, "asr", "list", n_draws=200, seed=0)
    table = language_tables.table_of(rows)
    assert tables.lookup(table, "clvp", "2 candidates, 3 texts", "cer").value == 30.0
    assert tables.lookup(table, "random", "2 candidates, 3 texts", "cer").value == 45.0
    frame = language_tables.corrected(apart)
    gaps = frame[(frame["baseline"] == "random") & frame["condition"].str.startswith("2 ")].set_index("system")
    assert gaps.at["clvp", "value"] == -15.0 and gaps.at["clvp", "high"] < 0
    assert gaps.at["both", "value"] == 15.0 and set(gaps.index) == {"both", "clvp"}


def scored() -> pd.DataFrame:
    """Scores of table 3: tts has one error of ten a clip, its floor nine."""
    rows = [
        ("table3_tts", system, f"{item.item}>{item.speaker}", item.language, True, item.speaker, item.group, item.known,
         metric, value, 10.0 if metric == "cer" else 1.0)
        for system, errors in (("tts", 1.0), ("tts_clvp", 2.0), ("shuffled_text", 9.0))
        for item in items(4).itertuples()
        for metric, value in (("cer", errors), ("early_stop", 0.0))
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(language_scores.COLUMNS))


def test_known_words_are_conditions_of_their_own():
    found = language_tables.table_of(language_tables.summarise(scored(), {"cer": "asr"}, "list", 100, 0))
    known = tables.lookup(found, "tts", "en seen known words", "cer")
    assert known.value == 10.0 and known.n == 2
    assert tables.lookup(found, "tts", "all", "early_stop").value == 0.0
    targets = language_targets.evaluate({"table3_tts": found}, language_tables.corrected([]))
    assert [target.met for target in targets] == [True, True] and targets[0].measured.startswith("20.0 [20.0, 20.0]")
    assert "with the likelihood 10.0; shuffled text 90.0" in targets[0].measured
    gap = language_tables.corrected(language_tables.paired(scored(), "tts", ("shuffled_text",), ("cer",), 100, 0))
    assert (gap["value"] == -80.0).all() and (gap["p_holm"] >= gap["p"]).all()


def test_seeds_have_a_mean_and_a_spread():
    parts = [scored().query("system == 'tts'").assign(table="tts_seeds", system=f"seed_{n}") for n in range(3)]
    for n, part in enumerate(parts):
        part["value"] = part["value"].where(part["metric"] != "cer", float(n))
    found = language_tables.table_of(language_tables.seed_rows(pd.concat(parts), "asr", "list", 50, 0))
    mean, spread = (tables.lookup(found, f"{kind}_of_seeds", "all", "cer") for kind in ("mean", "deviation"))
    assert (mean.value, mean.low, mean.high) == (10.0, 0.0, 20.0) and spread.value == 10.0


def test_recognition_floor_reads_another_text_of_the_same_language():
    chosen = items(3)
    read = pd.Series({"recording|a/en/0|": "press one"})
    found = language_scores.recognised(chosen, chosen["text"].tolist(), read)
    assert all(found["shuffled_references"][name] != found["lm"][name] for name in chosen["item"])
    assert found["whisper_recording"] == {"a/en/0": "press one"} and not found["whisper_tokens"]
    scores = language_scores.asr_scores(chosen, found)
    totals = scores[scores["metric"] == "cer"].groupby("system")["value"].sum()
    assert totals["lm"] == 0 < totals["shuffled_references"]


def test_targets_of_speed_bits_and_recognition():
    cost = language_numbers.cost_table(
        {"device": "d", "ids_per_second": {"vectok": 50.0, "transformers": 9.0},
         "n_ids": {"vectok": 3000, "transformers": 2900}, "seconds_by_n": {"1": 2.0},
         "rtf_by_n": {"1": 1.0}, "n_parameters": {"lm": 7}}, {"lm": {"seconds": 3.0, "peak_memory_mb": 4}},
    )  # fmt: skip
    bits = language_numbers.bits_table(
        {"right_bits_per_second": 140.0, "shuffled_bits_per_second": 150.0, "unigram_bits_per_second": 250.0,
         "by_language": {"en": {"right": 1.0, "shuffled": 2.0, "gain": 1.0}}}
    )  # fmt: skip
    recognition = language_tables.table_of(
        [language_tables.tidy_row("lm", "en", "cer", "", "", tables.Interval(0.3, 0.2, 0.36, 9), 100.0)]
    )
    found = language_targets.evaluate(
        {"bits": bits, "asr": recognition, "language_cost": cost}, language_tables.corrected([])
    )
    assert [target.met for target in found] == [True, True, True] and "+10.0" in found[0].measured
    assert "5.6 times (50 against 9; 3000 and 2900 ids)" in found[2].measured
    information = {"normaliser": "n", "asr_note": "a", "n_draws": 5, "resampling": {}}
    page = language_markdown.page("asr", recognition, language_tables.corrected([]), information)
    assert "30.0 [20.0, 36.0]" in page


@pytest.mark.parametrize("high, met", [(-0.5, True), (0.5, False)])
def test_clvp_is_held_against_the_mean_of_all_candidates(high, met):
    """The most texts decide; with the likelihood stands beside, and other N and baselines do not count."""
    rows = [
        ("clvp_curve", "clvp", "random", "16 candidates, 50 texts", "cer", -3.0, -5.5, high, 0.01, 0.01, 50),
        ("clvp_curve", "both", "random", "16 candidates, 50 texts", "cer", -6.0, -9.5, -high, 0.01, 0.01, 50),
        ("clvp_curve", "clvp", "random", "16 candidates, 5 texts", "cer", -9.0, -9.5, -high, 0.01, 0.01, 5),
        ("clvp_curve", "clvp", "random", "8 candidates, 50 texts", "cer", -9.0, -9.5, -high, 0.01, 0.01, 50),
        ("clvp_curve", "clvp", "asr", "16 candidates, 50 texts", "cer", 9.0, 8.0, 10.0, 0.01, 0.01, 50),
        ("table3_tts", "tts", "tts_first", "all seen", "cer", 1.25, -1.0, 3.0, 0.5, 0.5, 100),
    ]
    (found,) = language_targets.evaluate({}, language_tables.corrected(rows))
    assert found.met == met
    assert found.measured.startswith("-3.00 [-5.50, ") and "with the likelihood -6.00 [-9.50, " in found.measured


def test_the_best_take_has_likelihood_and_clvp_and_clvps_own_the_highest_similarity():
    timbre = language_takes.Timbre(("p",))
    takes = [
        language_takes.Take(name, (1,), timbre, 0, "", logprob, score, True, 1, 0.0)
        for name, logprob, score in (
            ("first", -3.0, 0.1),
            ("alike", -2.0, 0.9),
            ("both", -1.0, 0.5),
            ("late", 0.0, 0.95),
        )
    ]
    said = Said(takes)
    assert (said.best.name, said.best_by_clvp.name) == ("late", "late")
    assert (said.first(3).best.name, said.first(3).best_by_clvp.name) == ("both", "alike")


def test_recordings_are_read_in_their_own_language():
    """A translation is compared with its source, whose language is another one, before the source has its own row."""
    source, target = items(1).assign(item=["a/es/x", "a/en/x"], language=["es", "en"]).itertuples()
    take = language_takes.Take("t", (1,), language_takes.Timbre(("p",)), 0, "", 0.0, 0.0, True, 1, 0.0)
    there = language_plan.Pair("a/es/x", "a/en/x", "es", "en")
    back = language_plan.Pair("a/en/x", "a/es/x", "en", "es")
    rows = language_rows.pair_rows(there, source, target, take) + language_rows.pair_rows(back, target, source, take)
    requests = language_rows.requests_of(pd.DataFrame(rows, columns=list(language_rows.LanguageRow._fields)), {})
    spoken = {request.clip: request.language for request in requests if "transcript" in request.wants}
    assert (spoken["recording|a/es/x|"], spoken["recording|a/en/x|"]) == ("es", "en")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The tiny models over a synthetic store of two languages."""
    folder = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())
        system = language.load_language_parts(*make_all(folder))
    store = make_store(folder / "store", dim=DIM, n_runs=30)
    tokens.save_tokens(folder / "tokens.npy", tokens.tokenise_store(store, system.codec.codebook.centroids).tokens)
    table = tokens.TokenTable(store, folder / "tokens.npy")
    parts = systems.Parts(store, table, system.codec.codec, system.codec.vocoder, system.codec.vocoder)
    return Studio(parts, system.tasks, Kept(folder / "kept", "tiny models"))


def stored(studio: Studio) -> pd.DataFrame:
    """Test items over the studio's recordings; fr stands for es, which the tiny models know."""
    rows = studio.parts.store.index.query("split == 'test'").reset_index(drop=True)
    prompt = [("toy/000",)] * len(rows)
    return pd.DataFrame({
        "item": rows["utterance"], "language": rows["language"].replace("fr", "es"), "speaker": rows["speaker"],
        "group": rows["group"], "text": [f"press {'one' if n % 2 else 'no'} " + "o" * n for n in range(len(rows))],
        "seconds": rows["seconds"], "known": True, "prompt": prompt, "references": [("toy/002",)] * len(rows),
        "name": [str(n // 2) for n in range(len(rows))],
    })  # fmt: skip


def test_speed_continues_the_longest_recording_up_to_a_limit(studio, monkeypatch):
    chosen, asked = stored(studio), []
    compare = language_speed.compare_speed

    def watch(lm, request, config):
        asked.append(request.prefix)
        return compare(lm, request, config)

    monkeypatch.setattr(language_speed, "compare_speed", watch)
    monkeypatch.setattr(language_speed, "TIMED_PIECES", 5)
    found = language_speed.measure(studio, chosen, 3, 2, 0)
    longest = chosen["item"][chosen["seconds"].idxmax()]
    n_prompt = int(language_speed.PROMPT_SECONDS * 50)
    (prefix,) = asked
    assert tuple(prefix[2:]) == tuple(studio.tasks.lm.vocabulary.encode_pieces(studio.pieces(longest, n_prompt)))
    assert all(3 <= n <= 15 for n in found["n_ids"].values()), "three candidates of five ids at most"
    assert set(found["seconds_by_n"]) == {1, 2} and all(value > 0 for value in found["ids_per_second"].values())


def test_takes_become_rows_clips_and_scores(studio, tmp_path):
    chosen = stored(studio)
    said = studio.speak(chosen, [language_rows.own_voice(item) for item in chosen.itertuples()], 2, 0)
    played = language_plays.joined([
        language_plays.Played(language_rows.ceiling_rows(chosen), {}), language_plays.seen_rows(chosen, said),
        language_plays.unigram_rows(studio, chosen, 0), language_plays.continuation_rows(studio, chosen, 0.4, 0),
    ])  # fmt: skip
    rows = pd.DataFrame(played.rows, columns=list(language_rows.LanguageRow._fields))
    floor = rows[rows["system"] == "shuffled_text"].merge(rows[rows["system"] == "tts"], on="item")
    assert len(floor) and (floor["clip_x"] != floor["clip_y"]).all() and (floor["text_x"] == floor["text_y"]).all()
    assert {"tts", "tts_clvp", "tts_first"} <= set(rows["system"])
    requests = language_rows.requests_of(rows, {})
    assert len({request.clip for request in requests}) == len(requests)
    wants = {request.clip: request.wants for request in requests}
    with_and_without = rows[rows["system"].isin(["tts", "tts_first"])]
    assert all("distillmos" in wants[clip] for clip in with_and_without["clip"]), "CLVP on and off, by the same scores"
    for clip in rows["clip"].unique():
        audio = language_takes.synthesise(studio.parts, played.takes, clip)
        assert len(audio) and torch.isfinite(audio).all()
    values = pd.DataFrame([
        {"clip": r.clip, "transcript": "press one", "embedding": None, "embedding_narrow": None, "distillmos": 3.0,
         "dnsmos": None} for r in requests
    ])  # fmt: skip
    found = language_scores.scores_of(rows, values, played.takes, {"en": {"press"}, "es": set()})
    words = found[(found["metric"] == "known_words") & (found["language"] == "en")]
    assert (words["value"] == 1.0).all() and (words["weight"] == 2.0).all()
    assert {"duration_ratio", "early_stop", "unstopped", "repetition", "cer"} <= set(found["metric"])
    language_takes.save(played.takes.values(), tmp_path / "takes.csv")
    assert len(pd.read_csv(tmp_path / "takes.csv")) == len(played.takes)
    page = language_examples.index_page(
        pd.DataFrame([{"table": "tts", "item": rows["item"][0], "system": "tts", "file": "f", "spectrogram": "s"}]),
        rows, {},
    )  # fmt: skip
    assert rows["text"][0] in page and len(language_examples.choose(rows, 1)) == 2


def test_more_candidates_begin_with_the_same_ones(studio):
    chosen = stored(studio).head(2)
    voices = [language_rows.own_voice(item) for item in chosen.itertuples()]
    few, many = (studio.speak(chosen, voices, n, 0) for n in (2, 4))
    assert [take.tokens for take in few[0].takes] == [take.tokens for take in many[0].takes[:2]]
    by_item = dict(zip(chosen["item"], few, strict=True))
    config = language_plan.LanguagePlanConfig(
        n_texts=2, n_unseen_texts=0, n_unigram_texts=0, n_pairs=0, n_continuations=0, n_curve_texts=1,
        n_choice_texts=2, shortest_continued_seconds=1.0, seed=0,
    )  # fmt: skip
    found = language_plays.choices(studio, chosen, by_item, config, 4, 2, 0)
    assert [len(choice.takes) for choice in found] == [4, 2] and all({0, 1} <= set(c.read) for c in found)


def test_translations_keep_the_voice_of_their_source(studio, monkeypatch):
    monkeypatch.setattr(studio.tasks, "translate_texts", lambda texts, sources, targets: ["hola", *texts[1:]])
    chosen = stored(studio)
    pairs = language_plan.pairs(chosen, 2, 0)
    played = language_plays.translation_rows(studio, chosen, pairs, 2, 0)
    assert {row.system for row in played.rows} == {"ground_truth", "s2st"}
    row = next(row for row in played.rows if row.system == "s2st")
    assert played.takes[row.take].timbre.utterances == (pairs[0].source,) and row.language == pairs[0].direction
    items = {row.item for row in played.rows}
    own = language_plays.own_translations(studio.tasks, pairs, dict.fromkeys(chosen["item"], "press one"))
    assert set(own) == items and all(isinstance(text, str) for text in own.values())
    assert language_plays.own_translations(studio.tasks, [], {}) == {}


def test_what_was_said_and_heard_is_kept(studio, monkeypatch):
    """The second time no model is asked, and candidates are the same ones; what was heard is not read again."""
    chosen = stored(studio).head(2)
    voices = [language_rows.own_voice(item) for item in chosen.itertuples()]
    pairs = language_plan.pairs(stored(studio), 1, 3)

    def ask():
        heard_as = studio.transcribe(chosen)
        known = dict.fromkeys(stored(studio)["item"], "press one")
        return (
            heard_as, studio.speak(chosen, voices, 3, 7), studio.carry_on(chosen, 20, 7),
            studio.translate(pairs, 2, 7, known),
        )  # fmt: skip

    monkeypatch.setattr(
        language_tasks.writing, "transcribe", lambda lm, heard, *_: [Written("heard", True)] * len(heard)
    )
    first = ask()
    assert first[0] == dict.fromkeys(chosen["item"], "heard")
    for name in ("speak", "translate", "carry_on", "transcribe"):
        monkeypatch.setattr(studio.tasks, name, None)
    assert repr(ask()) == repr(first), "tuples, numbers and NaN alike"


def test_known_transcripts_of_sources_are_translated(studio, monkeypatch):
    chosen, given = stored(studio), []
    pairs = language_plan.pairs(chosen, 1, 4)
    monkeypatch.setattr(studio.tasks, "transcribe", lambda pieces, languages: ["read"] * len(pieces))
    monkeypatch.setattr(
        studio.tasks, "translate_texts", lambda texts, *_: given.extend(texts) or ["press"] * len(texts)
    )
    studio.translate(pairs, 1, 11, {pairs[0].source: "known"})
    assert given == ["known" if pair.source == pairs[0].source else "read" for pair in pairs]


def test_speech_that_is_not_known_is_read(studio, monkeypatch):
    given = []
    monkeypatch.setattr(studio.tasks, "transcribe", lambda pieces, languages: ["read"] * len(pieces))
    monkeypatch.setattr(
        studio.tasks, "translate_texts", lambda texts, *_: given.extend(texts) or ["press"] * len(texts)
    )
    heard = [Heard(str(n), (1, 2), "en", "es", (), text) for n, text in enumerate(["", None, "known", None])]
    studio.tasks.translate(heard, 1, 0)
    assert given == ["", "read", "known", "read"]


def test_notebook_information_is_json():
    assert json.dumps(language_translation.signatures())
