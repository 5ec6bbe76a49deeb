"""Error rates and similarities, worked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from vectok.evaluation.metrics import (
    character_errors,
    clip_metrics,
    error_rates,
    similarity,
    speaker_scores,
    word_errors,
)
from vectok.evaluation.plan import Row
from vectok.evaluation.scoring import narrow


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [("a b c", "a b c", 0), ("a b c", "a x c", 1), ("a b c", "a c", 1), ("a b c", "", 3), ("a", "b c", 2)],
)
def test_word_errors(reference, hypothesis, errors):
    assert word_errors(reference, hypothesis) == (errors, len(reference.split()))


def test_character_errors_count_spaces():
    assert character_errors("a b", "ab") == (1, 3)
    assert character_errors("abc", "") == (3, 3)


def test_an_empty_reference_has_no_error_rate():
    with pytest.raises(ValueError, match="empty reference"):
        word_errors("", "something")
    assert error_rates("...", "something", "en") == {}


def test_both_sides_are_normalised_alike():
    found = error_rates("Press 2, now!", "press two NOW", "en")
    assert found == {"wer": (0.0, 3.0), "cer": (0.0, 13.0)}
    assert error_rates("contrasena", "¿Contraseña?", "es")["wer"] == (0.0, 1.0)
    assert set(error_rates("a", "b", "en", "d")) == {"dwer", "dcer"}


def test_similarity_is_a_mean_of_cosines_whatever_the_lengths():
    others = np.array([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    assert similarity(np.array([0.5, 0.0]), others) == pytest.approx(0.0)
    assert similarity(np.array([2.0, 0.0]), others[:1]) == pytest.approx(1.0)


def test_margin_is_target_minus_source_and_needs_both():
    target, source = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    found = speaker_scores(np.array([1.0, 0.0]), target, target, source)
    assert found["scs"] == (1.0, 1.0) and found["scs_source"] == (0.0, 1.0) and found["scs_margin"] == (1.0, 1.0)
    assert "scs_margin" not in speaker_scores(np.array([1.0, 0.0]), target, target, np.zeros((0, 2)))


def tone(hz: float) -> torch.Tensor:
    """One second at 16 kHz."""
    return 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(16_000) / 16_000)


def test_narrow_band_copies_keep_low_tones_and_lose_high_ones():
    kept, lost = narrow(tone(1000.0)), narrow(tone(7000.0))
    assert len(kept) == 16_000 and len(narrow(tone(1000.0)[:12_347])) == 12_347
    assert kept.square().mean() > 0.9 * tone(1000.0).square().mean()
    assert lost.square().mean() < 0.01 * tone(7000.0).square().mean()


def test_narrow_band_copies_have_the_noise_of_eight_bits():
    error = narrow(tone(1000.0)) - tone(1000.0)
    level = float(error[2000:-2000].square().mean().sqrt())
    assert 0.3 / 128 / 12**0.5 < level < 3 / 128 / 12**0.5  # uniform rounding of steps of 1/128


def row(**changed) -> Row:
    """A row of the plan over clips called out, source and target."""
    base = dict(
        table="t", system="vectok", item="i", language="en", is_seen=True, speaker="s", group="g", clip="out",
        content="source", content_language="en", text="one two", references=("target",), prompts=(),
        sources=("source",), narrow=False, raters=(),
    )  # fmt: skip
    return Row(**(base | changed))


def values(**columns) -> pd.DataFrame:
    """What the models said of out, source and target; NaN where they were not asked."""
    empty = {name: [np.nan] * 3 for name in ("transcript", "embedding", "embedding_narrow", "distillmos", "dnsmos")}
    return pd.DataFrame(empty | columns, index=["out", "source", "target"], dtype=object)


def test_clip_metrics_take_text_and_source_transcript_apart():
    found = clip_metrics(row(), values(transcript=["one too", "one to", np.nan]))
    assert found["wer"] == (1.0, 2.0) and found["dwer"] == (1.0, 2.0)
    assert found["cer"] == (1.0, 7.0) and found["dcer"] == (1.0, 6.0)


def test_a_recording_without_text_has_only_differences():
    found = clip_metrics(row(text=""), values(transcript=["one", "one", np.nan]))
    assert set(found) == {"dwer", "dcer"}


def test_narrow_rows_read_narrow_embeddings_alone():
    wide, low = [[1.0] + [0.0] * 255] * 3, [[1.0] * 256, [-1.0] * 256, [1.0] * 256]
    found = clip_metrics(row(narrow=True), values(embedding=wide, embedding_narrow=low))
    assert found["scs"][0] == pytest.approx(1.0) and found["scs_source"][0] == pytest.approx(-1.0)


def test_what_no_model_scored_is_absent():
    assert clip_metrics(row(), values()) == {}
    assert clip_metrics(row(), values(distillmos=[3.0, np.nan, np.nan])) == {"distillmos": (3.0, 1.0)}
