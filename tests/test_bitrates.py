"""Codes of the same speech: each can be decoded, none is cheaper than its model says, and the tables hold them."""

import lzma

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
import zstandard
from hypothesis import given, settings

from tests.test_bitstream import DIM, N_CLUSTERS, make_coder, walk
from vectok.bitstream import prompt, stream
from vectok.evaluation import bitrates, task_tables

FUZZ = settings(deadline=None, derandomize=True, max_examples=60, database=None)


@pytest.fixture(scope="module")
def coder():
    return make_coder()


@pytest.fixture(scope="module")
def codes(coder):
    return bitrates.Codes(coder.tokenizer, [walk(80, number) for number in range(20)], 1)


@pytest.fixture(scope="module")
def index():
    names = [f"u{number}" for number in range(6)]
    return pd.DataFrame({"utterance": names, "language": ["en", "fr"] * 3, "speaker": "a", "group": names})


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 50)), min_size=1, max_size=20))
@FUZZ
def test_runs_can_be_undone(pairs):
    tokens = torch.cat([torch.full((count,), token) for token, count in pairs])
    runs = bitrates.runs_of(tokens)
    assert torch.equal(bitrates.frames_of_runs(runs), tokens)
    assert runs.extra_frames.min() >= 0 and runs.extra_frames.max() < bitrates.LONGEST_RUN


@given(st.lists(st.integers(0, 299), min_size=1, max_size=50))
@FUZZ
def test_packed_ids_can_be_unpacked(ids):
    packed = bitrates.pack_bits(np.array(ids), 300)
    assert len(packed) == -(-9 * len(ids) // 8)
    bits = "".join(f"{byte:08b}" for byte in packed)
    assert [int(bits[9 * place : 9 * place + 9], 2) for place in range(len(ids))] == ids


def test_general_compressors_are_the_programs_at_their_strongest():
    data = bytes(range(200)) * 9
    found = bitrates.general_bits(data)
    assert found["xz"] == 8 * len(lzma.compress(data, preset=9))
    assert found["zstd"] == 8 * len(zstandard.ZstdCompressor(level=19).compress(data))


def test_no_payload_is_shorter_than_its_model_says_nor_two_words_longer(codes):
    assert [code.name for code in codes.codes][::2] == ["tokens, order 0", "runs, order 0", "pieces, order 0"]
    for code in codes.codes:
        found = codes.bits(code, walk(400, 99))
        n_streams = len(code.models)
        entropy, payload = found["entropy_bits_per_second"], found["payload_bits_per_second"]
        assert entropy - 0.1 <= payload <= entropy + 64 * n_streams, code.name
    by_name = {code.name: codes.bits(code, walk(400, 99)) for code in codes.codes}
    assert by_name["tokens, order 0"]["bits_per_second"] == pytest.approx(400 * np.log2(N_CLUSTERS))
    assert by_name["tokens, order 1"]["payload_bits_per_second"] < by_name["tokens, order 0"]["payload_bits_per_second"]


def test_scores_and_tables_hold_what_was_measured(coder, codes, index):
    speaker = prompt.compact(coder.codebook.vectors[walk(60, 1)] + torch.ones(DIM), coder.codebook.vectors)
    tokens = {name: walk(100 + place, place) for place, name in enumerate(index["utterance"])}
    contents = {name: stream.Content(t, 320 * len(t), "en", speaker) for name, t in tokens.items()}
    whole = bitrates.file_scores(coder, index, contents, 1.0)
    scores = pd.concat([bitrates.code_scores(codes, index, tokens), whole])
    table = task_tables.summarise(scores, {"bits_per_second": "nominal"}, "toy list", n_draws=200)
    row = table.query("system == 'pieces, order 1' and condition == 'files' and metric == 'entropy_bits_per_second'")
    pieces = [coder.tokenizer.encode(part).numpy() for part in tokens.values()]
    code = codes.codes[-1]
    expected = sum(code.models[0].bits(part) for part in pieces) / sum(len(part) / 50 for part in tokens.values())
    assert row["value"].item() == pytest.approx(expected, abs=0.006) and row["n"].item() == 6
    assert row["low"].item() <= row["value"].item() <= row["high"].item()
    assert set(table["condition"]) == {"files", "en", "fr"}
    parts = [
        table.query(f"system == 'vtok' and condition == 'files' and metric == '{name}_bits_per_second'")["value"].item()
        for name in ("payload", "overhead", "file")
    ]
    assert parts[0] + parts[1] == pytest.approx(parts[2], abs=0.02)
    page = task_tables.page("Title", "Note.", table, ("file_bits_per_second", "prompt_bytes"), 200, "so")
    assert "| vtok | en |" in page and "toy list" in page


def test_one_stream_has_every_row_and_its_payload_follows_its_entropy(coder, codes):
    found = bitrates.one_stream(coder, codes, [walk(300, seed) for seed in range(8)], 20.0)
    ours = found["vtok"]
    assert ours["entropy_bits_per_second"] <= ours["payload_bits_per_second"] <= 1.1 * ours["entropy_bits_per_second"]
    assert {"tokens, zstd", "tokens, xz", "pieces, zstd", "pieces, xz"} < set(found)


def test_differences_are_paired_and_missing_metrics_are_not_run():
    rows = [
        (system, "0 dB", item, "a", f"g{item}", "stoi", value + (0.5 if system == "b" else 0.0), 1.0)
        for system in "ab"
        for item, value in enumerate([0.1, 0.9, 0.3, 0.2])
    ]
    scores = pd.DataFrame(rows, columns=list(task_tables.SCORE_COLUMNS))
    found = task_tables.differences(scores, "denoise", "a", ("stoi",), n_draws=500).iloc[0]
    assert (found["value"], found["low"], found["high"], found["n"]) == (0.5, 0.5, 0.5, 4)
    table = task_tables.summarise(scores, {"stoi": "pystoi", "cer": "not run: no model"}, "list", n_draws=100)
    missing = table[table["metric"] == "cer"]
    assert len(missing) == 2 and missing["value"].isna().all() and (missing["n"] == 0).all()
    assert "not run" in task_tables.page("T", "N", table, ("stoi", "cer"), 100, "so")
