"""BPE: loss-less for any tokens, deterministic, no paths inside, the arithmetic of its vocabulary."""

import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vectok import bpe
from vectok.bpe import BPEConfig, PieceTokenizer

N_CLUSTERS, N_VOCAB = 40, 120


def make_utterances(n_utterances: int = 40, n_seen: int = 30) -> list[torch.Tensor]:
    """Random walks with runs over the first ``n_seen`` tokens: the rest never occurs."""
    generator = torch.Generator().manual_seed(0)
    runs = torch.randint(0, n_seen, (n_utterances, 50), generator=generator)
    lengths = torch.randint(1, 5, (n_utterances, 50), generator=generator)
    return [run.repeat_interleave(length) for run, length in zip(runs, lengths, strict=True)]


@pytest.fixture(scope="module")
def model():
    return bpe.train(make_utterances(), BPEConfig(n_vocab=N_VOCAB, n_clusters=N_CLUSTERS))


@pytest.fixture(scope="module")
def tokenizer(model):
    return PieceTokenizer(model)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, N_CLUSTERS - 1), max_size=300))
def test_any_sequence_comes_back(tokenizer, values):
    tokens = torch.tensor(values, dtype=torch.int64)
    pieces = tokenizer.encode(tokens)
    assert torch.equal(tokenizer.decode(pieces), tokens)
    assert int(tokenizer.piece_lengths[pieces].sum()) == len(tokens)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, N_VOCAB - 1), max_size=100))
def test_any_sequence_of_pieces_has_tokens(tokenizer, values):
    """What a language model samples need not be what the tokenizer would choose, but it always stands for tokens."""
    tokens = tokenizer.decode(torch.tensor(values, dtype=torch.int64))
    assert len(tokens) == int(tokenizer.piece_lengths[torch.tensor(values, dtype=torch.int64)].sum())
    assert torch.equal(tokenizer.decode(tokenizer.encode(tokens)), tokens)


def test_every_token_is_a_piece_even_one_that_never_occurred(tokenizer):
    assert tokenizer.n_vocab == N_VOCAB and tokenizer.n_clusters == N_CLUSTERS
    singles = {int(tokenizer.tokens_of_piece(p)[0]) for p in range(N_VOCAB) if tokenizer.piece_lengths[p] == 1}
    assert singles == set(range(N_CLUSTERS))
    assert len({tuple(tokenizer.tokens_of_piece(p).tolist()) for p in range(N_VOCAB)}) == N_VOCAB


def test_an_hour_in_one_sequence_comes_back(tokenizer):
    tokens = torch.randint(0, N_CLUSTERS, (180_000,), generator=torch.Generator().manual_seed(0)).repeat_interleave(2)
    assert torch.equal(tokenizer.decode(tokenizer.encode(tokens)), tokens)


def test_utterances_longer_than_sixteen_bits_can_be_trained_on():
    # sentencepiece stops the process' training on a sentence of 65,536 symbols or more, hence the cut.
    long = torch.cat(make_utterances(600))
    assert len(long) > 2**16
    tokenizer = PieceTokenizer(bpe.train([long], BPEConfig(n_vocab=60, n_clusters=N_CLUSTERS)))
    assert tokenizer.n_vocab == 60


def test_it_learns_to_join_what_repeats(tokenizer):
    tokens = torch.cat(make_utterances())
    assert len(tokenizer.encode(tokens)) < 0.7 * len(tokens)


def test_training_twice_gives_the_same_bytes_and_no_path(model):
    assert bpe.train(make_utterances(), BPEConfig(n_vocab=N_VOCAB, n_clusters=N_CLUSTERS)) == model
    assert b"/tmp" not in model and b"/home" not in model and b".txt" not in model


def test_it_agrees_with_sentencepiece(model, tokenizer):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = make_utterances()[0]
    assert processor.encode(bpe.text_of_tokens(tokens)) == (tokenizer.encode(tokens) + 1).tolist()
    assert processor.decode(processor.encode(bpe.text_of_tokens(tokens))) == bpe.text_of_tokens(tokens)


def test_pieces_are_no_longer_than_asked():
    utterances = [torch.zeros(200, dtype=torch.int64), *make_utterances()]
    config = BPEConfig(n_vocab=N_VOCAB, n_clusters=N_CLUSTERS, max_piece_tokens=3)
    assert int(PieceTokenizer(bpe.train(utterances, config)).piece_lengths.max()) == 3


def test_the_papers_codebook_fits_the_alphabet():
    tokens = torch.arange(bpe.MAX_CLUSTERS)
    text = bpe.text_of_tokens(tokens)
    assert torch.equal(bpe.tokens_of_text(text), tokens)
    import unicodedata

    assert all(unicodedata.normalize(form, text) == text for form in ("NFC", "NFKC", "NFKD"))


def test_files_come_back(model, tmp_path):
    bpe.save(tmp_path / "bpe" / "bpe.model", model)
    tokens = torch.tensor([1, 1, 2, 39])
    loaded = PieceTokenizer(tmp_path / "bpe" / "bpe.model")
    assert torch.equal(loaded.decode(loaded.encode(tokens)), tokens)
    assert not list(tmp_path.rglob("*.partial"))


def test_it_says_what_is_wrong(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"tokens in \[0, 40\), got 3 to 40"):
        tokenizer.encode(torch.tensor([3, 40]))
    with pytest.raises(ValueError, match=r"pieces in \[0, 120\), got -1"):
        tokenizer.decode(torch.tensor([-1, 3]))
    with pytest.raises(ValueError, match="lower n_vocab"):
        bpe.train([torch.tensor([0, 1, 0])], BPEConfig(n_vocab=500, n_clusters=4))
    with pytest.raises(ValueError, match="raise n_vocab"):
        bpe.train([torch.tensor([0, 1, 0])], BPEConfig(n_vocab=3, n_clusters=4))
    with pytest.raises(ValueError, match="run the bpe stage"):
        PieceTokenizer(tmp_path / "bpe.model")
    (tmp_path / "bpe.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="expected a sentencepiece model"):
        PieceTokenizer(tmp_path / "bpe.model")
