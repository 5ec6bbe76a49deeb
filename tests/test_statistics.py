"""Intervals cover what they promise, resample what belongs together, and pair what is compared."""

import numpy as np
import pandas as pd
import pytest

from vectok.evaluation.statistics import (
    FIXED,
    HIERARCHICAL,
    cells_of,
    difference,
    holm,
    interval,
    resampling,
)


def clips(values, groups, speakers="a", weights=1.0):
    """Rows of one metric."""
    frame = pd.DataFrame({"value": values, "group": groups, "speaker": speakers, "weight": weights})
    return frame.assign(item=[f"i{number}" for number in range(len(frame))])


def test_interval_of_two_equal_groups_by_hand():
    # Two groups, drawn twice: both zeros 1/4, one of each 1/2, both ones 1/4.
    frame = clips([0.0, 1.0], ["x", "y"])
    draws = resampling(frame, n_draws=20_000, seed=1)
    share = (draws.counts[:, 1] == 1).mean()
    assert abs(share - 0.5) < 0.02
    assert interval(frame, draws) == (0.5, 0.0, 1.0, 2)


def test_rates_are_ratios_of_sums_not_means_of_ratios():
    frame = clips([1.0, 0.0], ["x", "y"], weights=[1.0, 9.0])
    assert interval(frame, resampling(frame, 100)).value == pytest.approx(0.1)


def test_errors_and_words_are_resampled_together():
    # Every clip has the same rate, so no draw can differ, however long the clips are.
    weights = np.arange(1.0, 21.0)
    frame = clips(0.25 * weights, list(range(20)), weights=weights)
    found = interval(frame, resampling(frame, 500))
    assert found.low == pytest.approx(0.25) and found.high == pytest.approx(0.25)


def test_groups_are_drawn_and_not_clips():
    one_group = clips([0.0, 1.0] * 10, "x")
    assert np.isnan(interval(one_group, resampling(one_group, 100)).low)
    apart = clips([0.0, 1.0] * 10, list(range(20)))
    together = clips([0.0, 1.0] * 10, [0, 1] * 10)
    narrow, wide = (interval(frame, resampling(frame, 2000)) for frame in (apart, together))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_ten_speakers_are_drawn_and_nine_are_not():
    frame = clips(range(20), list(range(20)), [f"s{number // 2}" for number in range(20)])
    assert resampling(frame, 10).note == HIERARCHICAL
    assert resampling(frame[frame["speaker"] != "s9"], 10).note == FIXED


def test_hierarchical_counts_add_up_and_draw_whole_speakers():
    frame = clips(range(40), list(range(40)), [f"s{number // 4}" for number in range(40)])
    draws = resampling(frame, 200, seed=3)
    assert (draws.counts.sum(axis=1) == 40).all()  # ten speakers of four groups each
    speakers = [cell.split("\t")[0] for cell in draws.cells]
    by_speaker = pd.DataFrame(draws.counts.T, index=speakers).groupby(level=0).sum()
    assert (by_speaker % 4 == 0).all().all()


def test_speakers_widen_the_interval_when_they_differ():
    generator = np.random.default_rng(0)
    effects = np.repeat(generator.normal(size=12), 10)
    frame = clips(effects, list(range(120)), [f"s{number // 10:02d}" for number in range(120)])
    wide = interval(frame, resampling(frame, 2000))
    fixed = interval(frame.assign(speaker="a"), resampling(frame.assign(speaker="a"), 2000))
    assert wide.high - wide.low > 2 * (fixed.high - fixed.low)


def test_coverage_of_grouped_clips():
    """Simulated: 40 groups of three alike clips; about 95 of 100 intervals must hold the truth."""
    generator, covered, n_trials = np.random.default_rng(5), 0, 300
    groups = np.repeat(np.arange(40), 3)
    for trial in range(n_trials):
        weights = generator.integers(5, 15, size=120).astype(float)
        rates = np.repeat(generator.uniform(0.0, 0.4, size=40), 3)
        frame = clips(rates * weights, groups, weights=weights)
        found = interval(frame, resampling(frame, 400, seed=trial))
        covered += found.low <= 0.2 <= found.high
    assert 0.90 <= covered / n_trials <= 0.99, covered / n_trials


def test_paired_difference_of_a_constant_shift_does_not_vary():
    generator = np.random.default_rng(2)
    first = clips(generator.normal(size=30), list(range(30)))
    second = first.assign(value=first["value"] - 0.5)
    found = difference(first, second, resampling(first, 500))
    assert found.value == pytest.approx(0.5) and found.low == pytest.approx(0.5) and found.high == pytest.approx(0.5)
    assert found.p < 0.01 and found.n == 30


def test_difference_of_a_system_with_itself_is_nothing():
    frame = clips(np.random.default_rng(3).normal(size=20), list(range(20)))
    assert difference(frame, frame, resampling(frame, 200))[:4] == (0.0, 0.0, 0.0, 1.0)


def test_difference_uses_shared_items_only_and_refuses_none():
    first = clips([1.0, 2.0, 30.0], ["x", "y", "z"])
    second = clips([0.0, 1.0], ["x", "y"])
    shared = first[first["item"].isin(second["item"])]
    assert difference(first, second, resampling(shared, 100)).value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no item is in both"):
        difference(first, second.assign(item="other"), resampling(first, 10))


def test_same_seed_same_draws_and_another_seed_others():
    frame = clips(range(15), list(range(15)))
    one, two, other = (resampling(frame, 50, seed=seed).counts for seed in (7, 7, 8))
    assert (one == two).all() and (one != other).any()


def test_cells_of_a_subset_match_the_draws_it_was_made_for():
    """A metric that only some speakers have must not fall out of draws made over all of them."""
    frame = clips(np.ones(24), list(range(24)), [f"s{number // 2:02d}" for number in range(24)])
    draws = resampling(frame, 50)
    assert interval(frame[:6], draws).value == 1.0
    assert set(cells_of(frame[:6], True)) <= set(draws.cells)


def test_no_clip_is_an_error():
    with pytest.raises(ValueError, match="no clip to resample"):
        resampling(clips([], []))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
