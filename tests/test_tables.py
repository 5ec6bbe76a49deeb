"""The plan, the tidy tables, the verdicts and the README, on small worked cases."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tiny_system import DIM, guided_system
from vectok.corpus.lists import COLUMNS as LIST_COLUMNS
from vectok.corpus.lists import Lists
from vectok.evaluation import cost, markdown, paper, plan, readme, scores, systems, tables, targets, verdicts
from vectok.evaluation.statistics import Interval
from vectok.evaluation.units import CLIP_METRICS


def listed(*rows) -> pd.DataFrame:
    """A test list."""
    return pd.DataFrame(rows, columns=list(LIST_COLUMNS))


CODEC = listed(("codec", "en", "a/en/1", "a-en", "a/en/2 a/en/3", "a/en/4 a/en/5 a/en/6", True))
VC = listed(
    ("vc_intra", "en", "a/en/1", "d-en", "d/en/1", "d/en/2 d/en/3 d/en/4", False),
    ("vc_intra", "en", "d/en/5", "a-en", "a/en/2", "a/en/4 a/en/5 a/en/6", True),
    ("vc_cross", "en-fr", "a/en/1", "a-fr", "a/fr/2", "a/fr/4 a/fr/5 a/fr/6", True),
    ("vc_cross", "fr-en", "a/fr/1", "a-en", "a/en/2", "a/en/4 a/en/5 a/en/6", True),
)  # fmt: skip


def index() -> pd.DataFrame:
    """An index of two corpora: a, wide-band with texts; d, narrow-band without."""
    rows = [
        {
            "utterance": f"{c}/{language}/{n}",
            "language": language,
            "group": f"g{n}",
            "text": "some words" if c == "a" else "",
            "bandwidth_hz": 7000.0 if c == "a" else 5512.0,
            "seconds": 2.0 + n,
            "speaker": f"{c}-{language}",
        }
        for c, language in (("a", "en"), ("a", "fr"), ("d", "en"))
        for n in range(1, 8)
    ]
    return pd.DataFrame(rows)


CONFIG = plan.PlanConfig(neighbours=(1, 4), rated_neighbours=4, guidances=(0.25,), seed=0)


def planned() -> pd.DataFrame:
    """The plan of both lists."""
    return plan.rows_of(Lists(CODEC, VC), index(), CONFIG)


def test_the_plan_has_every_row():
    found = planned().groupby("table")["system"].agg(set)
    assert found["codec"] == {"ground_truth", "vocoder", "tokens"}
    conversion = {
        "ground_truth",
        "vectok",
        "no_conversion",
        "random_target",
        "knn_vc_k1",
        "knn_vc_k4",
        "vectok_guidance0.25",
    }
    assert found["table1_vc_intra"] == found["table2_vc_cross"] == conversion | {"vocoder", "tokens"}


def test_codec_rows_are_compared_with_the_original_and_conversions_with_held_out_references():
    rows = planned()
    codec = rows[rows["table"] == "codec"]
    assert all(references == ("recording|a/en/1|",) for references in codec["references"])
    converted = rows[(rows["system"] == "vectok") & (rows["table"] == "table1_vc_intra")].iloc[0]
    assert converted["references"] == ("recording|d/en/2|", "recording|d/en/3|", "recording|d/en/4|")
    assert converted["sources"] == ("recording|a/en/1|",) and converted["prompts"] == ("recording|d/en/1|",)


def test_no_row_is_compared_with_its_own_clip_but_for_the_codec():
    rows = planned()
    others = rows[rows["table"] != "codec"]
    assert all(row.clip not in row.references for row in others.itertuples())


def test_random_target_is_the_same_clip_against_another_speaker():
    rows = planned()
    pair = rows[(rows["table"] == "table2_vc_cross") & (rows["item"] == "a/en/1>a-fr")].set_index("system")
    assert pair.at["random_target", "clip"] == pair.at["vectok", "clip"]
    assert all("/en/" in name for name in pair.at["random_target", "references"])


def test_rows_with_a_narrow_band_recording_are_narrow_on_all_sides():
    rows = planned()
    narrow = rows.groupby("table")["narrow"].agg(set)
    assert narrow["table1_vc_intra"] == {True} and narrow["table2_vc_cross"] == {False} == narrow["codec"]
    wants = {request.clip: request.wants for request in plan.requests_of(rows, index())}
    assert "embedding_narrow" in wants["recording|d/en/2|"] and "embedding" not in wants["recording|d/en/2|"]


def test_every_clip_is_asked_once_and_naturalness_for_one_k_and_the_models_own_guidance():
    requests = plan.requests_of(planned(), index())
    wants = {request.clip: request.wants for request in requests}
    assert len(wants) == len(requests)
    unrated = [wanted for clip, wanted in wants.items() if clip.startswith("knn_vc_k1|")]
    rated = [wanted for clip, wanted in wants.items() if clip.startswith("knn_vc_k4|")]
    unrated += [wanted for clip, wanted in wants.items() if clip.startswith("vectok_guidance0.25|")]
    assert len(unrated) > 3 and not any("dnsmos" in wanted for wanted in unrated)
    assert rated and all("dnsmos" in wanted for wanted in rated)
    assert wants["recording|a/en/2|"] == {"embedding", "embedding_narrow"}  # a prompt of both kinds of rows


def test_dnsmos_rates_every_second_item_of_each_language_and_kind_of_voice_in_all_systems_alike():
    conversions = pd.concat([VC.assign(target_speaker=f"{n}") for n in range(3)], ignore_index=True)
    rows = plan.rows_of(Lists(CODEC, conversions), index(), dataclasses.replace(CONFIG, dnsmos_every=2))
    by_dnsmos = rows["raters"].map(lambda raters: "dnsmos" in raters)
    items = {
        system: set(own["item"])
        for system, own in rows[by_dnsmos & (rows["table"] == "table2_vc_cross")].groupby("system")
    }
    assert items["vectok"] == items["ground_truth"] == items["knn_vc_k4"] and "knn_vc_k1" not in items
    for _, own in rows[rows["system"] == "vectok"].groupby(["table", "language", "is_seen"]):
        assert by_dnsmos[own.index].tolist() == [place % 2 == 0 for place in range(len(own))]
    assert rows.loc[rows["system"] == "vectok", "raters"].map(lambda raters: "distillmos" in raters).all()


def test_a_row_has_no_rating_of_a_model_that_another_row_asked_for():
    rows = planned().drop_duplicates("clip").head(2)
    rows = rows.assign(raters=[("distillmos",), ("distillmos", "dnsmos")])
    values = pd.DataFrame({
        "clip": rows["clip"].tolist(), "transcript": None, "embedding": None, "embedding_narrow": None,
        "distillmos": 3.0, "dnsmos": [{"ovrl": 2.0}] * 2,
    })  # fmt: skip
    metrics = scores.scores_of(rows, values).groupby("system")["metric"].agg(list)
    assert sorted(map(tuple, metrics)) == [("distillmos",), ("distillmos", "dnsmos_ovrl")]


def test_a_list_with_an_unknown_utterance_is_refused():
    with pytest.raises(ValueError, match="a/en/99"):
        plan.rows_of(Lists(CODEC.assign(source="a/en/99"), VC), index(), CONFIG)


def test_clip_names_and_back():
    clip = systems.Clip("vectok", "a/en/1", ("b/1", "b/2"))
    assert systems.Clip.of_name(clip.name) == clip
    assert systems.Clip.of_name(systems.Clip("recording", "a").name) == systems.Clip("recording", "a")


def test_a_row_of_another_guidance_is_the_same_model_with_that_weight(model, monkeypatch):
    own, spoken, prompt = guided_system(model, 0.5), torch.tensor([3, 3, 1, 0, 7] * 4), torch.randn(60, DIM)
    monkeypatch.setattr(systems, "prompt_vectors", lambda store, names: prompt)
    tokens = SimpleNamespace(tokens=lambda name: spoken)
    parts = systems.Parts(None, tokens, own.codec, vocoder=None, tuned_vocoder=own.vocoder)
    made = {
        method: systems.synthesise(parts, systems.Clip(method, "a", ("b",)))
        for method in ("vectok", "vectok_guidance0.5", "vectok_guidance0", "vectok_guidance0.25")
    }
    assert torch.equal(made["vectok"], made["vectok_guidance0.5"])
    own.guidance = 0.25
    assert torch.equal(made["vectok_guidance0.25"], own.decode(spoken, prompt))
    assert not torch.equal(made["vectok_guidance0"], made["vectok"])
    with pytest.raises(ValueError, match="unknown method"):
        systems.synthesise(parts, systems.Clip("vectok_guidance", "a", ("b",)))


def scored(n_items: int = 12) -> pd.DataFrame:
    """Scores of two systems in two languages; system b has one error of ten more a clip."""
    rows = [
        ("codec", system, f"{language}{n}", language, n % 2 == 0, f"s-{language}", f"g{n}", metric, value, weight)
        for system, extra in (("tokens", 1.0), ("ground_truth", 0.0))
        for language in ("en", "fr")
        for n in range(n_items)
        for metric, value, weight in (("cer", n % 3 + extra, 10.0), ("distillmos", 3.0 - extra, 1.0))
    ]
    return pd.DataFrame(rows, columns=list(scores.COLUMNS))


MODELS = {"cer": "asr 1", "distillmos": "mos 2", "dnsmos_ovrl": "not run: speechmos: not installed"}


def test_a_tidy_table_by_hand():
    table = tables.summarise(scored(), MODELS, "list 1", n_draws=500, seed=1)
    assert tuple(table.columns) == tables.COLUMNS
    found = tables.lookup(table, "ground_truth", "all", "cer")
    assert found.value == 10.0 and found.low < 10.0 < found.high and found.n == 24
    conditions = ["en", "fr", "all"]
    assert list(dict.fromkeys(table["condition"])) == [
        *conditions,
        *(f"{c} {k}" for k in ("seen", "unseen") for c in conditions),
    ]


def test_a_metric_that_was_not_run_stands_empty():
    table = tables.summarise(scored(), MODELS, "list 1", n_draws=50)
    row = table[
        (table["metric"] == "dnsmos_ovrl") & (table["condition"] == "all") & (table["system"] == "tokens")
    ].iloc[0]
    assert row["n"] == 0 and np.isnan(row["value"]) and row["model"].startswith("not run")
    assert tables.lookup(table, "tokens", "all", "dnsmos_ovrl") is None
    assert markdown.cell(next(pd.DataFrame([row]).itertuples())) == "not run"


def test_tables_are_the_same_twice(tmp_path):
    for name in ("one.csv", "two.csv"):
        tables.write_table(tables.summarise(scored(), MODELS, "l", n_draws=200, seed=3), tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_differences_are_paired_and_corrected():
    found = tables.differences(scored(), "tokens", ("cer",), n_draws=500)
    whole = found[found["condition"] == "all"].iloc[0]
    assert (whole["system"], whole["baseline"]) == ("tokens", "ground_truth")
    # One error of ten in every clip: paired, nothing varies.
    assert whole["value"] == whole["low"] == whole["high"] == 10.0
    assert (found["p_holm"] >= found["p"]).all() and whole["n"] == 24


def test_differences_leave_out_rows_over_other_prompts():
    table = scored()
    table.loc[table["system"] == "ground_truth", "group"] = "other"
    assert tables.differences(table, "tokens", ("cer",), n_draws=50).empty


def test_a_cell_of_fewer_clips_than_its_row_says_of_how_many():
    rows = [
        ("x", "all", "cer", "", "", "%", 5.0, 4.0, 6.0, 40),
        ("x", "all", "dnsmos_ovrl", "", "", "MOS", 3.0, 2.0, 4.0, 20),
        ("x", "all", "n_parameters", "", "", "1", 7.0, np.nan, np.nan, 1),
    ]  # fmt: skip
    shown = markdown.wide(pd.DataFrame(rows, columns=list(tables.COLUMNS)), ("cer", "dnsmos_ovrl", "n_parameters"))
    assert shown.endswith("| x | all | 5.0 [4.0, 6.0] | 3.00 [2.00, 4.00], n 20 | 7 | 40 |")


def test_ten_speakers_in_one_metric_and_five_in_another():
    """Draws follow the clips of each metric, so that none falls out of the table."""
    table = scored()
    more = table[table["metric"] == "distillmos"].assign(
        speaker=[f"s{n}" for n in range(48)], item=[f"x{n}" for n in range(48)]
    )
    found = tables.summarise(pd.concat([table, more]), MODELS, "l", n_draws=100)
    assert tables.lookup(found, "tokens", "all", "cer").low > 0
    assert np.isfinite(tables.lookup(found, "tokens", "all", "distillmos").low)


def test_rate_scores_are_counts_over_seconds():
    rates = pd.DataFrame([{
        "utterance": "a/en/1", "language": "en", "split": "test", "seconds": 2.0, "n_raw": 100, "n_deduplicated": 60,
        "n_bpe": 40, "entropy_bits_raw": 500.0, "entropy_bits_bpe": 300.0,
    }])  # fmt: skip
    found = scores.rate_scores(rates, index(), 256, 1024).set_index(["system", "metric"])
    rate = found["value"] / found["weight"]
    assert rate["tokens", "tokens_per_second"] == 50.0 and rate["tokens", "bits_per_second"] == 400.0
    assert rate["pieces", "bits_per_second"] == 200.0 and rate["pieces", "entropy_bits_per_second"] == 150.0
    assert ("tokens_deduplicated", "entropy_bits_per_second") not in found.index


X, Y = (paper.Place("t", system, "all", "scs") for system in "xy")
HIGHER = paper.Cell("t", "X", "scs", 0.9, "C1", "none", X)
LOWER = paper.Cell("t", "Y", "scs", 0.8, "C1", "none", Y)
ORDERINGS = (paper.Ordering("one above two", HIGHER, LOWER),)


def tidy(x: Interval, y: Interval) -> dict[str, pd.DataFrame]:
    """A table with two numbers."""
    rows = [("x", "all", "scs", "", "", "cosine", *x), ("y", "all", "scs", "", "", "cosine", *y)]
    return {"t": pd.DataFrame(rows, columns=list(tables.COLUMNS))}


@pytest.mark.parametrize(
    ("profile", "interval", "judge", "expected"),
    [
        ("paper", Interval(0.9, 0.87, 0.93, 50), "none", verdicts.REPRODUCED),
        ("paper", Interval(0.9, 0.80, 1.0, 50), "none", verdicts.NOT_COMPARABLE),  # too wide
        ("paper", Interval(0.8, 0.79, 0.81, 50), "none", verdicts.DIFFERS),
        ("paper", Interval(0.9, 0.87, 0.93, 50), "model", verdicts.NOT_COMPARABLE),  # another judge
        ("embedded", Interval(0.9, 0.87, 0.93, 50), "none", verdicts.NOT_COMPARABLE),
        ("embedded", Interval(0.9, 0.87, 0.93, 50), "listeners", verdicts.NOT_COMPARABLE),
    ],
)
def test_verdicts(profile, interval, judge, expected):
    assert verdicts.verdict_of(HIGHER._replace(judge=judge), interval, profile, None).verdict == expected


def test_an_order_of_the_paper_is_kept_or_not():
    one, two = Interval(0.8, 0.75, 0.85, 9), Interval(0.6, 0.55, 0.65, 9)
    kept = verdicts.ordering_of(HIGHER, tidy(one, two), ORDERINGS)
    turned = verdicts.ordering_of(LOWER, tidy(two, one), ORDERINGS)
    assert kept == (verdicts.SAME_ORDERING, "one above two; intervals apart")
    assert turned == (verdicts.DIFFERS, "not one above two; intervals apart")
    wide = {"low": 0.0, "high": 1.0}
    overlapping = verdicts.ordering_of(HIGHER, {k: t.assign(**wide) for k, t in tidy(one, two).items()}, ORDERINGS)
    assert overlapping.verdict == verdicts.NOT_COMPARABLE and "overlap" in overlapping.reason
    assert verdicts.ordering_of(HIGHER, {}, ORDERINGS) is None
    assert verdicts.ordering_of(HIGHER._replace(system="z"), tidy(one, two), ORDERINGS) is None


def test_embedded_never_reproduces():
    own = pd.DataFrame(columns=list(tables.COLUMNS))
    found = verdicts.compare(dict.fromkeys(["codec", "table1_vc_intra", "table2_vc_cross", "bitrate"], own), "embedded")
    assert len(found) == len(paper.CELLS) and verdicts.REPRODUCED not in set(found["verdict"])


def test_every_cell_of_the_paper_carries_how_sure_it_is():
    assert {cell.sure for cell in paper.CELLS} == {"C", "C1", "I"}
    assert {cell.judge for cell in paper.CELLS} == {"none", *verdicts.JUDGES}
    assert all(ordering.higher.value > ordering.lower.value for ordering in paper.ORDERINGS)
    assert all({ordering.higher, ordering.lower} <= set(paper.CELLS) for ordering in paper.ORDERINGS)


def test_targets_read_the_tables():
    rows = [
        (system, condition, metric, "", "", "%", value, value - 1, value + 1, 9)
        for condition in ("en seen", "all seen")
        for system, metric, value in (
            ("ground_truth", "cer", 5.0), ("vocoder", "cer", 7.0), ("tokens", "cer", 16.0),
            ("vocoder", "distillmos", 2.5),
        )
    ]  # fmt: skip
    codec = pd.DataFrame(rows, columns=list(tables.COLUMNS))
    found = {
        t.requirement: t.met for t in targets.evaluate({"codec": codec, "bitrate": codec.iloc[:0]}, codec.iloc[:0])
    }
    assert found == {
        "vocoder, en: CER at most 3 points above the recordings'": True,
        "tokens, en: CER at most 10 points above the recordings'": False,
        "vocoder, all seen: distillmos at least 2.2": True,
    }


def test_a_page_names_models_normaliser_list_and_draws():
    table = tables.summarise(scored(), MODELS, "codec.csv abc", n_draws=50)
    information = {"normaliser": "n1", "asr_note": "relative", "n_draws": 50, "resampling": {"codec": "fixed"}}
    text = markdown.page("codec", table, pd.DataFrame(columns=["table"]), information)
    assert all(word in text for word in ("asr 1", "mos 2", "n1", "codec.csv abc", "50 draws", "fixed", "not run"))


def test_cost_stands_in_tidy_form():
    measured = {"device": "cpu x", "rtf": {"codec": [0.01, 0.009, 0.02]}, "n_parameters": {"codec": 10}}
    table = cost.table_of(measured, {"codec": {"seconds": 3.0, "peak_memory_mb": 99}})
    assert tuple(table.columns) == tables.COLUMNS and set(table["metric"]) == {
        "rtf",
        "n_parameters",
        "seconds",
        "peak_memory_mb",
    }
    assert table[table["metric"] == "rtf"].iloc[0][["value", "low", "high", "n"]].tolist() == [0.01, 0.009, 0.02, 5]


def test_readme_is_rendered_between_its_markers(tmp_path, monkeypatch):
    text = "before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter"
    assert readme.render(text, "new\n") == text.replace("old", "new")
    assert readme.render(readme.render(text, "new\n"), "new\n") == readme.render(text, "new\n")
    with pytest.raises(ValueError, match="no markers"):
        readme.render("nothing", "new")


def test_readme_shows_of_a_table_what_its_brief_says():
    rows = [
        ("vectok", "all", "cer", 1.0), ("vectok_guidance0", "all", "cer", 2.0), ("other", "all", "cer", 3.0),
        ("vectok", "en", "scs", 4.0), ("vectok", "pink -5 dB", "cer", 5.0), ("vectok", "pink 10 dB", "cer", 6.0),
        ("vectok", "pink 0 dB", "cer", 7.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["system", "condition", "metric", "value"])

    def shown(*arguments, **options):
        return readme.Brief("title", ("cer",), *arguments, **options).of(table)["value"].tolist()

    assert shown() == [1, 2, 3, 4, 5, 6, 7] and shown(("all",)) == [1, 2, 3]
    assert shown(("all",), ("vectok",)) == [1, 2] and shown(("all",), ("other",)) == [3]
    assert shown(zero_decibels=True) == [1, 2, 3, 4, 7]
    joined = readme.Brief("title", ("cer",), ("all", "en"), ("vectok",), joined=True).of(table)
    assert set(joined["condition"]) == {"all, en"} and joined["value"].tolist() == [1, 2, 4]
    with pytest.raises(ValueError, match="title: no condition '20 texts'"):
        shown(("all", "20 texts"))


def test_readme_renders_a_profile(tmp_path, monkeypatch):
    folder = tmp_path / "reports" / "p" / "tables"
    table = tables.summarise(scored(), {k: v for k, v in MODELS.items() if k in CLIP_METRICS}, "l", n_draws=50)
    for name in markdown.TITLES:
        tables.write_table(table, folder / f"{name}.csv")
    (folder / "targets.json").write_text(json.dumps([{"requirement": "r", "measured": "1", "met": False}]))
    monkeypatch.setattr(readme, "reports_folder", lambda profile: tmp_path / "reports" / profile)
    monkeypatch.setattr(readme, "REPOSITORY", tmp_path)
    found = readme.rendered("p")
    assert "**no**" in found and "all unseen" in found and "| en |" not in found
    with pytest.raises(ValueError, match="run make repro"):
        readme.rendered("other")
