"""The .vtok file: nothing is lost, the same tokens give the same bytes, and what is damaged or foreign is refused."""

import zlib

import constriction
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from tests.synthetic import plain_codebook
from vectok import bpe
from vectok.bitstream import entropy, files, prompt, stream
from vectok.bitstream import format as layout
from vectok.bitstream.coder import Coder, pieces_hash
from vectok.bitstream.errors import VtokError

N_CLUSTERS, N_VOCAB, DIM = 12, 20, 4
FUZZ = settings(
    deadline=None, derandomize=True, max_examples=60, database=None, suppress_health_check=[HealthCheck.too_slow]
)
words = st.binary(max_size=64).map(lambda junk: junk[: len(junk) // 4 * 4])
token_lists = st.lists(st.integers(0, N_CLUSTERS - 1), min_size=1, max_size=120)


def walk(n_frames, seed):
    """Tokens that repeat and favour some followers, as speech does."""
    generator = np.random.default_rng(seed)
    steps = np.where(generator.random(n_frames) < 0.5, 0, generator.choice([1, 1, 1, 2, 5], n_frames))
    return torch.from_numpy(np.cumsum(steps) % N_CLUSTERS)


def make_coder(seed=0, encoder="ab" * 32, layer=3):
    training = [walk(80, seed * 100 + number) for number in range(30)]
    tokenizer = bpe.PieceTokenizer(bpe.train(training, bpe.BPEConfig(n_vocab=N_VOCAB, n_clusters=N_CLUSTERS)))
    means = [torch.randn(DIM, generator=torch.Generator().manual_seed(number)) for number in range(9)]
    pieces = [tokenizer.encode(tokens) for tokens in training]
    model = entropy.fit(pieces, prompt.training_levels(means), N_VOCAB, entropy.EntropyConfig())
    centroids = torch.randn(N_CLUSTERS, DIM, generator=torch.Generator().manual_seed(seed))
    return Coder(tokenizer, model, plain_codebook(centroids), encoder, layer)


@pytest.fixture(scope="module")
def coder():
    return make_coder()


@pytest.fixture(scope="module")
def data(coder):
    """A file of several chunks with a prompt."""
    speaker = coder_prompt(coder)
    return files.pack(coder, stream.Content(walk(230, 5), 230 * 320 - 7, "en", speaker), chunk_seconds=2.0)


def coder_prompt(coder):
    vectors = coder.codebook.vectors[walk(200, 4)] + torch.tensor([0.3, -2.0, 6.0, 0.0])
    return prompt.compact(vectors, coder.codebook.vectors)


# The model of pieces.


def test_probabilities_are_witten_and_bells_over_counted_contexts():
    model = entropy.fit([torch.tensor([0, 1, 0, 1, 0, 2])], np.array([0]), 3, entropy.EntropyConfig())
    # Contexts of 0: start and 1; of 1: 0; of 2: 0. Weights 2 * contexts + 1 are 5, 3, 3.
    shares = np.diff(model.edges(0)) / 2**24
    expected = [(0 + 2 * 5 / 11) / 5, (2 + 2 * 3 / 11) / 5, (1 + 2 * 3 / 11) / 5]
    np.testing.assert_allclose(shares, expected, atol=2e-5)
    np.testing.assert_allclose(np.diff(model.edges(2)) / 2**24, [5 / 11, 3 / 11, 3 / 11], atol=2e-5)
    assert model.bits(np.array([1, 1])) == pytest.approx(-np.log2((3 / 11) / 2 * (3 / 11) / 3), abs=1e-3)


def test_order_zero_forgets_the_context():
    sequences = [torch.tensor([0, 1, 0, 1, 0, 2])]
    model = entropy.fit(sequences, np.array([0]), 3, entropy.EntropyConfig(order=0))
    np.testing.assert_allclose(np.diff(model.edges(0)) / 2**24, np.array([7, 5, 3]) / 15, atol=2e-5)
    assert model.edges(0).tolist() == model.edges(2).tolist() == model.edges(model.start).tolist()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.integers(9, 24))
@FUZZ
def test_quantised_frequencies_are_positive_and_sum_exactly(weights, bits):
    weights[0] += 1
    edges = entropy.quantise(entropy.edges_of(np.array(weights)), bits)
    assert edges[0] == 0 and edges[-1] == 2**bits and np.diff(edges).min() >= 1


def test_quantise_refuses_what_does_not_fit():
    for edges, bits in ((np.arange(18), 4), (np.zeros(3, np.int64), 4), (np.array([0, 2**60]), 24)):
        with pytest.raises(ValueError, match="expected fewer than"):
            entropy.quantise(edges, bits)


def symbol_at(model, quantile):
    """What constriction decodes from one of 2^24 places of its first interval."""
    point = quantile * ((2**64 - 1) >> 24)
    words = np.array([point >> 32, point & 0xFFFFFFFF], np.uint32)
    return constriction.stream.queue.RangeDecoder(words).decode(model)


@pytest.mark.parametrize("n_symbols", [2, 20, 300, 2048])
def test_the_coder_library_uses_exactly_our_integers(n_symbols):
    generator = np.random.default_rng(n_symbols)
    for shape in (0.02, 0.3, 5.0):
        weights = np.floor(generator.gamma(shape, size=n_symbols) * 1e6).astype(np.int64) + (np.arange(n_symbols) == 1)
        edges = entropy.quantise(entropy.edges_of(weights), entropy.PRECISION)
        model = entropy._coder_model(edges)
        for symbol in {0, 1, n_symbols - 1, *generator.integers(0, n_symbols, 20).tolist()}:
            assert symbol_at(model, int(edges[symbol])) == symbol
            assert symbol_at(model, int(edges[symbol + 1]) - 1) == symbol


def test_payload_is_as_long_as_the_model_says(coder):
    pieces = coder.tokenizer.encode(walk(4000, 77)).numpy()
    payload = coder.model.encode(pieces)
    assert coder.model.bits(pieces) <= 8 * len(payload) <= coder.model.bits(pieces) + 64
    assert coder.model.bits(pieces) < 0.9 * np.log2(N_VOCAB) * len(pieces)


def test_model_comes_back_from_its_folder_and_a_changed_one_is_refused(coder, tmp_path):
    coder.model.save(tmp_path / "model", {"order": 1})
    again = entropy.PieceModel.load(tmp_path / "model")
    assert again.content_hash == coder.model.content_hash
    assert (again.edges(3) == coder.model.edges(3)).all()
    other = make_coder(seed=1).model
    other.save(tmp_path / "other", {})
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model" / "model.safetensors")
    with pytest.raises(ValueError, match="expected a model of hash"):
        entropy.PieceModel.load(tmp_path / "model")
    with pytest.raises(ValueError, match="run the bitstream stage"):
        entropy.PieceModel.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="expected the integers"):
        entropy.PieceModel(coder.model.arrays | {"counts": coder.model.arrays["counts"][1:]})


def test_rare_pairs_are_left_out_and_frequent_contexts_fit():
    sequences = [torch.tensor([0, 1] * 5 + [0, 2])]
    model = entropy.fit(sequences, np.array([0]), 3, entropy.EntropyConfig(least_count=2))
    assert model.arrays["successors"].tolist() == [1, 0]
    counts = entropy._limited(np.array([0, 2, 3]), np.array([2**20, 3, 5]))
    assert counts.tolist() == [2**17, 1, 5]


# Files.


@given(token_lists, st.integers(0, 319), st.sampled_from(["", "en", "pt-br"]), st.booleans(), st.integers(1, 130))
@FUZZ
def test_files_lose_nothing_and_are_byte_stable(coder, tokens, cut, language, with_prompt, n_frames):
    speaker = coder_prompt(coder) if with_prompt else None
    content = stream.Content(torch.tensor(tokens), 320 * len(tokens) - cut, language, speaker)
    data = files.pack(coder, content, n_frames / 50)
    found = files.unpack(coder, data)
    assert torch.equal(found.tokens, content.tokens) and found[1:3] == content[1:3]
    assert (found.prompt is None) == (speaker is None)
    assert speaker is None or all(map(torch.equal, found.prompt, speaker))
    assert files.pack(coder, found, n_frames / 50) == data == files.pack(make_coder(), content, n_frames / 50)


def test_bytes_are_those_of_the_first_release(coder):
    """Any change to header, model, or coder shows here; it then wants another version number."""
    data = files.pack(coder, stream.Content(walk(40, 1), 40 * 320, "en"))
    assert data[:10].hex() == "56544f4b01abababab03"
    assert len(data) == 33 + len(coder.model.encode(coder.tokenizer.encode(walk(40, 1)).numpy())) + 10
    assert f"{zlib.crc32(data):08x}" == "d38970b3"


def test_each_chunk_decodes_after_those_before_it(coder):
    tokens, writer, reader = walk(300, 9), stream.Writer(coder, "ru", coder_prompt(coder)), stream.Reader(coder)
    assert reader.feed(writer.start()) == [] and reader.header.language == "ru" and reader.prompt is not None
    for start in range(0, 300, 100):
        (found,) = reader.feed(writer.add(tokens[start : start + 100]))
        assert torch.equal(found, tokens[start : start + 100])
    with pytest.raises(VtokError, match=r"truncated \(6 s of speech"):
        reader.finish([])
    reader.feed(writer.add(tokens[:0], is_last=True))
    assert reader.is_finished and reader.finish([tokens]).n_samples == 300 * 320


def test_bytes_may_come_one_by_one(coder, data):
    reader, found = stream.Reader(coder), []
    for place in range(len(data)):
        found += reader.feed(data[place : place + 1])
    assert torch.equal(reader.finish(found).tokens, walk(230, 5)) and len(found) == 3


def test_sizes_add_up(coder, data):
    sizes = files.sizes(coder, data)
    assert sum(sizes) == len(data) and sizes.overhead == 33 + 3 * 10
    pieces = [coder.tokenizer.encode(part).numpy() for part in walk(230, 5).split(100)]
    contexts = [None, int(pieces[0][-1]), int(pieces[1][-1])]
    assert sizes.payload == sum(len(coder.model.encode(*pair)) for pair in zip(pieces, contexts, strict=True))


def test_a_prompt_keeps_the_mean_and_the_tokens(coder):
    speaker = coder_prompt(coder)
    vectors = prompt.expand(speaker, coder.codebook.vectors)
    assert vectors.shape == (150, DIM)
    expected = (coder.codebook.vectors[walk(200, 4)].mean(0) + torch.tensor([0.3, -2.0, 6.0, 0.0])).clamp(-5, 5)
    torch.testing.assert_close(vectors.mean(0), expected, atol=1 / 16 + 1e-4, rtol=0)
    assert torch.equal(prompt.compact(vectors, coder.codebook.vectors).tokens, speaker.tokens)
    with pytest.raises(ValueError, match="at least 1 s and dim 4"):
        prompt.compact(vectors[:40], coder.codebook.vectors)
    with pytest.raises(ValueError, match="use the codebook"):
        prompt.expand(speaker, coder.codebook.vectors[:3])


def test_files_appear_whole_and_errors_name_them(coder, tmp_path):
    content = stream.Content(walk(60, 2), 19_001, "fr")
    files.write(tmp_path / "deep" / "a.vtok", coder, content)
    assert torch.equal(files.read(tmp_path / "deep" / "a.vtok", coder).tokens, content.tokens)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.vtok"]
    (tmp_path / "b.vtok").write_bytes(b"RIFF")
    for name, reason in (("b.vtok", "b.vtok: expected a .vtok file"), ("c.vtok", "c.vtok: cannot be read")):
        with pytest.raises(VtokError, match=reason):
            files.read(tmp_path / name, coder)


def test_what_cannot_be_written_is_refused(coder):
    for content in (stream.Content(walk(5, 0), 5), stream.Content(walk(0, 0), 0)):
        with pytest.raises(ValueError, match="a token for each 320 samples"):
            files.pack(coder, content)
    with pytest.raises(ValueError, match=r"tokens in \[0, 12\)"):
        files.pack(coder, stream.Content(torch.tensor([12]), 320))
    with pytest.raises(ValueError, match="a language code"):
        files.pack(coder, stream.Content(walk(5, 0), 1600, "English"))
    with pytest.raises(ValueError, match="chunks of 0.02 to 81.92 s"):
        files.pack(coder, stream.Content(walk(5, 0), 1600), chunk_seconds=100.0)
    with pytest.raises(ValueError, match="1 to 4096 tokens a chunk"):
        stream.Writer(coder).add(walk(5000, 0))
    with pytest.raises(ValueError, match="expected a model of 20 pieces"):
        Coder(coder.tokenizer, coder.model, plain_codebook(coder.codebook.vectors[:5]), "00" * 32, 1)


# What is refused.


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (make_coder(encoder="cd" * 32), "encoder abababab, got cdcdcdcd"),
        (make_coder(layer=6), "layer of the encoder 3, got 6"),
        (make_coder(seed=1), "codebook .* BPE model .* model of pieces"),
    ],
)
def test_files_of_another_system_are_refused_with_the_part(coder, other, reason):
    foreign = files.pack(other, stream.Content(walk(60, 2), 19_200))
    with pytest.raises(VtokError, match=reason):
        files.unpack(coder, foreign)


def test_another_version_is_refused_by_its_number(coder, data):
    for version in (0, 2, 255):
        with pytest.raises(VtokError, match=f"expected .vtok version 1, got {version}"):
            files.unpack(coder, data[:4] + bytes([version]) + data[5:])


def test_every_truncation_is_refused(coder, data):
    for length in range(len(data)):
        with pytest.raises(VtokError, match="truncated"):
            files.unpack(coder, data[:length])


def test_every_flipped_bit_is_refused(coder):
    data = files.pack(coder, stream.Content(walk(40, 1), 12_800, "en", coder_prompt(coder)))
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(VtokError):
            files.unpack(coder, bytes(damaged))


def test_chunks_cannot_be_moved_doubled_or_taken_out(coder):
    writer = stream.Writer(coder)
    head, *chunks = [writer.start(), *(writer.add(walk(50, seed), seed == 3) for seed in range(4))]
    assert len(files.unpack(coder, b"".join([head, *chunks])).tokens) == 200
    for order in ((0, 2, 1, 3), (0, 1, 1, 2, 3), (0, 2, 3), (0, 1, 3), (3,), (0, 1, 2, 3, 3)):
        with pytest.raises(VtokError):
            files.unpack(coder, head + b"".join(chunks[number] for number in order))


@given(st.binary(max_size=400))
@FUZZ
def test_random_bytes_are_refused(coder, junk):
    for start in (b"", b"VTOK", b"VTOK\x01"):
        with pytest.raises(VtokError):
            files.unpack(coder, start + junk)


@given(st.binary(max_size=300))
@FUZZ
def test_random_chunks_after_a_true_header_are_refused(coder, junk):
    header = stream.Writer(coder).start()
    with pytest.raises(VtokError):
        files.unpack(coder, header + junk)


@given(st.integers(0, 4200), st.integers(0, 9), words, st.booleans(), st.booleans(), st.integers(0, 65535))
@FUZZ
def test_forged_chunks_with_right_checksums_are_refused_or_are_what_vectok_writes(
    coder, n_pieces, n_levels, payload, is_prompt, is_last, check
):
    header = stream.Writer(coder).start()
    checksum = int.from_bytes(header[-4:], "little")
    chunk = layout.Chunk(is_prompt, is_last, n_pieces, n_levels, payload, check)
    forged = header + layout.write_chunk(chunk, checksum)
    with pytest.raises(VtokError):
        files.unpack(coder, forged)


@given(st.lists(st.integers(0, N_VOCAB - 1), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
@FUZZ
def test_forged_pieces_and_lengths_are_refused_unless_true(coder, pieces, n_samples):
    pieces = torch.tensor(pieces)
    tokens = coder.tokenizer.decode(pieces)
    header = layout.write_header(layout.Header(coder.identity, n_samples, ""))
    payload = coder.model.encode(pieces.numpy())
    chunk = layout.Chunk(False, True, len(pieces), 0, payload, layout.token_check(tokens.numpy()))
    forged = header + layout.write_chunk(chunk, int.from_bytes(header[-4:], "little"))
    is_true = torch.equal(coder.tokenizer.encode(tokens), pieces)
    if is_true and (n_samples == 0 or -(-n_samples // 320) == len(tokens)):
        assert torch.equal(files.unpack(coder, forged).tokens, tokens)
    else:
        with pytest.raises(VtokError):
            files.unpack(coder, forged)


def test_other_tokens_than_were_written_are_noticed(coder, monkeypatch):
    data = files.pack(coder, stream.Content(walk(60, 2), 19_200))
    monkeypatch.setattr(layout, "token_check", lambda tokens: 0)
    with pytest.raises(VtokError, match="other tokens than were written"):
        files.unpack(coder, data)


def test_the_hash_of_the_pieces_sees_one_merge(coder):
    assert pieces_hash(coder.tokenizer) == pieces_hash(make_coder().tokenizer)
    assert pieces_hash(coder.tokenizer) != pieces_hash(make_coder(seed=1).tokenizer)
