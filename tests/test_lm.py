"""The language model: its vocabulary, what can reach what, its loss, and that it learns."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.spoken import make_tokenizer, make_utterances, make_vocabulary
from vectok.config import stage_parameters
from vectok.lm import check
from vectok.lm.batches import LMDataConfig, SequenceMaker, collate
from vectok.lm.model import LanguageModel, LanguageModelConfig, dropout
from vectok.lm.objective import LMObjective, weighted_cross_entropy
from vectok.lm.sequences import TaskSequence, tts_text
from vectok.lm.vocabulary import TAGS, Vocabulary
from vectok.training import TrainingConfig, fit

VOCABULARY = make_vocabulary()
TINY = LanguageModelConfig(n_layers=2, dim=48, n_heads=2, ffn_dim=96, tied=True)
DATA = LMDataConfig(
    batch_ids=600, task_shares={"tts": 0.6, "asr": 0.3, "mt": 0.1}, interleaved=True, augmented_share=0.0,
    prompt_share=0.0, min_prompt_seconds=0.1, max_prompt_seconds=0.3, asr_delay=4, context_weight=0.25,
    n_curriculum_steps=0, max_cut_words=2, seed=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(TINY, VOCABULARY).eval()


@pytest.fixture(scope="module")
def utterances():
    return make_utterances(make_tokenizer())


def test_ids_stand_in_the_order_of_the_specification():
    names = VOCABULARY.names(range(VOCABULARY.n_ids))
    assert names == [*(f"<{t}>" for t in TAGS), "<lang:en>", "<lang:fr>", *" abcdef", *(f"#{p}" for p in range(12))]
    ids = torch.arange(VOCABULARY.n_ids)
    assert VOCABULARY.is_piece(ids).sum() == 12 and VOCABULARY.is_symbol(ids).sum() == 7
    assert VOCABULARY.decode_text(VOCABULARY.encode_text("fa de")) == "fa de"
    assert VOCABULARY.decode_pieces(VOCABULARY.encode_pieces([11, 0])).tolist() == [11, 0]


def test_what_the_vocabulary_does_not_know_is_named():
    with pytest.raises(ValueError, match=r"\['!', 'z'\]"):
        VOCABULARY.encode_text("az!")
    with pytest.raises(ValueError, match=r"pieces in \[0, 12\), got 3 to 12"):
        VOCABULARY.encode_pieces([3, 12])
    with pytest.raises(ValueError, match="unknown tag 'sing'"):
        VOCABULARY.tag("sing")
    with pytest.raises(ValueError, match="separator"):
        Vocabulary(symbols=("a",), languages=("en",), n_pieces=1, codebook_hash="", bpe_hash="")


def test_another_codebook_or_bpe_is_refused_with_both_hashes():
    VOCABULARY.check("c0de", "b9e")
    with pytest.raises(ValueError, match="codebook of hash c0de, got 0ther"):
        VOCABULARY.check("0ther", "b9e")
    with pytest.raises(ValueError, match="BPE model of hash b9e, got 0ther"):
        VOCABULARY.check("c0de", "0ther")
    other = Vocabulary(symbols=tuple(" ab"), languages=("en",), n_pieces=12, codebook_hash="c0de", bpe_hash="b9e")
    with pytest.raises(ValueError) as error:
        VOCABULARY.check_same(other)
    assert VOCABULARY.content_hash in str(error.value) and other.content_hash in str(error.value)


def test_a_saved_model_is_the_model_and_keeps_its_vocabulary(model, tmp_path):
    model.save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm")
    ids = torch.randint(0, VOCABULARY.n_ids, (2, 9))
    assert torch.equal(loaded(ids), model(ids)) and loaded.vocabulary == VOCABULARY
    assert not {"_name_or_path", "transformers_version"} & set(json.loads((tmp_path / "lm/config.json").read_text()))


def test_weights_of_another_vocabulary_are_refused(model, tmp_path):
    model.save(tmp_path / "lm")
    other = Vocabulary(symbols=tuple(" abcdef"), languages=("en", "fr"), n_pieces=12, codebook_hash="x", bpe_hash="b9e")
    other.save(tmp_path / "lm/vocabulary.json")
    with pytest.raises(ValueError) as error:
        LanguageModel.load(tmp_path / "lm")
    assert VOCABULARY.content_hash in str(error.value) and other.content_hash in str(error.value)
    described = json.loads((tmp_path / "lm/vocabulary.json").read_text())
    (tmp_path / "lm/vocabulary.json").write_text(json.dumps({**described, "n_pieces": 11}))
    with pytest.raises(ValueError, match="expected a vocabulary of hash"):
        LanguageModel.load(tmp_path / "lm")
    with pytest.raises(ValueError, match="no language model"):
        LanguageModel.load(tmp_path / "nothing")


def test_paper_preset_has_about_480_million_parameters():
    sizes = stage_parameters("paper", "lm")
    names = ("n_layers", "dim", "n_heads", "n_kv_heads", "ffn_dim", "tied")
    config = LanguageModelConfig(**{name: sizes[name] for name in names})
    paper = Vocabulary(symbols=tuple(" abcdef"), languages=("en",), n_pieces=8192, codebook_hash="", bpe_hash="")
    with torch.device("meta"):
        built = LanguageModel(config, paper)
    assert (config.n_layers, config.n_heads, config.dim, config.ffn_dim) == (12, 12, 1536, 6144)
    assert config.n_kv_heads == config.n_heads, "the paper's heads share nothing"
    assert 470e6 < built.n_parameters < 490e6


def test_what_stands_behind_cannot_reach_what_stands_before(model):
    ids = torch.randint(0, VOCABULARY.n_ids, (1, 12))
    changed = torch.cat([ids[:, :7], torch.randint(0, VOCABULARY.n_ids, (1, 5))], 1)
    torch.testing.assert_close(model(ids)[:, :7], model(changed)[:, :7])


def test_padding_and_other_rows_cannot_leak(model):
    drawn = [TaskSequence(torch.randint(1, VOCABULARY.n_ids, (n,)).tolist(), [1.0] * n, 0) for n in (23, 9, 40)]
    together = model(collate(drawn, VOCABULARY.tag("pad")).ids)
    for row, each in enumerate(drawn):
        alone = model(torch.tensor([each.ids]))
        torch.testing.assert_close(together[row, : len(each.ids)], alone[0])


def test_loss_is_the_weighted_mean_of_the_targets_alone(model):
    ids = torch.randint(1, VOCABULARY.n_ids, (1, 6))
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.5, 0.0, 0.0]])
    objective = LMObjective(model, lambda _: {}, 10)
    batch = collate([TaskSequence(ids[0].tolist(), weights[0].tolist(), 0)], VOCABULARY.tag("pad"))
    logs = model(ids)[0].log_softmax(-1)
    expected = -(logs[0, ids[0, 1]] + 0.5 * logs[2, ids[0, 3]]) / 1.5
    torch.testing.assert_close(objective.losses("lm", batch, 1)["nats"], expected)


def test_nothing_is_learnt_where_the_weight_is_zero():
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 5, requires_grad=True), torch.tensor([0, 1, 2])
    weighted_cross_entropy(logits, targets, torch.tensor([1.0, 0.0, 1.0])).backward()
    assert logits.grad[1].abs().max() == 0 and logits.grad[0].abs().max() > 0


def test_dropout_keeps_the_mean_and_zeroes_the_share():
    torch.manual_seed(0)
    dropped = dropout(torch.ones(100, 1003), 0.25)
    assert abs(float((dropped == 0).float().mean()) - 0.25) < 0.01
    assert abs(float(dropped.mean()) - 1) < 0.01
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(256 / 192).item()}


def test_dropout_rests_in_evaluation():
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(n_layers=1, dim=16, n_heads=2, ffn_dim=16, tied=True, dropout=0.5),
                          VOCABULARY)  # fmt: skip
    ids = torch.randint(0, VOCABULARY.n_ids, (1, 12))
    assert not torch.equal(model.train()(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))


def test_scores_are_the_same_in_any_company(model, utterances):
    found = [SequenceMaker(VOCABULARY, DATA).asr(utterance) for utterance in utterances]
    together = check.score(model, found)
    alone = [check.score(model, [each])[0] for each in found]
    np.testing.assert_allclose([each.nats for each in together], [each.nats for each in alone], rtol=1e-4)
    assert [each[1:] for each in together] == [each[1:] for each in alone]
    assert [each.n_targets for each in alone] == [sum(w > 0 for w in each.weights) for each in found]


def test_bits_of_a_uniform_model_and_of_unigrams():
    found = [TaskSequence([5, 20, 21], [0.0, 1.0, 1.0], 100)]
    scored = [check.Scored(2 * math.log(8), 2, 0)]
    assert check.bits_per_second(scored, found) == pytest.approx(3.0)  # 6 bits in 2 seconds
    assert check.bits_per_target(scored) == pytest.approx(3.0)
    counts = check.target_counts(found, 32)
    assert counts.sum() == 2 and check.unigram_bits_per_second(counts, found) == pytest.approx(1.0)


def test_an_overfitted_batch_is_reproduced_exactly(utterances, tmp_path):
    torch.manual_seed(0)
    model, maker = LanguageModel(TINY, VOCABULARY), SequenceMaker(VOCABULARY, DATA)
    two = [utterance for utterance in utterances if not utterance.pseudo][1:4:2]
    batch = collate([maker.tts(utterance, []) for utterance in two], VOCABULARY.tag("pad"))
    found = check.held_out(two, [], maker, 0.1)
    objective = LMObjective(model, lambda lm: check.measure(lm, found), 100)
    config = TrainingConfig(n_steps=200, learning_rate=0.01, n_warmup_steps=10, precision="no")
    history = fit(objective, lambda step: batch, config, tmp_path, "lm")
    assert history["nats"].iloc[-1] < 0.01
    curve = history["right_bits_per_second"].dropna()
    assert list(curve.index) == [0, 100] and curve[100] < 0.1 * curve[0]
    for utterance in two:
        assert greedy(model, utterance) == [list(spoken.pieces) for spoken in utterance.spoken]


@torch.no_grad()
def greedy(model: LanguageModel, utterance) -> list[list[int]]:
    """The pieces of every word, each the likeliest, and the text where the model goes on in it."""
    forced = tts_text(VOCABULARY, utterance.language, [], [word.word for word in utterance.words])
    ids, said = list(forced.prefix), [[]]
    for entry in forced.queue:
        while (best := int(model(torch.tensor([ids]))[0, -1].argmax())) >= VOCABULARY.first_piece and len(ids) < 999:
            ids.append(best)
            said[-1].append(best - VOCABULARY.first_piece)
        said += [[]] if entry[0] == VOCABULARY.tag("next") else []
        ids += entry
    return said[:-1]


def test_the_loss_is_of_the_ids_given_what_is_read(model):
    found = TaskSequence([5, 20, 21, 9], [0.0, 1.0, 1.0, 1.0], 0, [5, 22, 21, 9])
    batch = collate([found], VOCABULARY.tag("pad"))
    logs = model(torch.tensor([found.read]))[0].log_softmax(-1)
    expected = -(logs[0, 20] + logs[1, 21] + logs[2, 9]) / 3
    torch.testing.assert_close(LMObjective(model, lambda _: {}, 10).losses("lm", batch, 1)["nats"], expected)


@pytest.mark.parametrize("tied", [True, False])
def test_a_piece_learns_from_its_tokens_and_is_saved_as_a_plain_vector(tmp_path, tied):
    pieces = [torch.tensor([token]) for token in range(9)] + [torch.tensor(part) for part in ([0, 1], [1, 1, 2], [8])]
    torch.manual_seed(0)
    model = LanguageModel(replace(TINY, tied=tied), VOCABULARY).eval()
    ids, own = torch.randint(0, VOCABULARY.n_ids, (2, 9)), model.llama.model.embed_tokens.weight.detach().clone()
    plain = model(ids).detach()
    model.compose(pieces)
    first, composed = VOCABULARY.first_piece, model.llama.model.embed_tokens.weight
    torch.testing.assert_close(composed[: first + 9], own[: first + 9])
    torch.testing.assert_close(composed[first + 9], own[first + 9] + (own[first] + own[first + 1]) / 2)
    torch.testing.assert_close(composed[first + 10], own[first + 10] + (2 * own[first + 1] + own[first + 2]) / 3)
    torch.testing.assert_close(composed[first + 11], own[first + 11])
    assert not torch.allclose(model(ids), plain)
    model(torch.full((1, 2), first + 9)).sum().backward()
    trained = model.llama.model.embed_tokens.parametrizations.weight.original
    assert trained.grad[first].abs().sum() > 0, "a token's vector learns where its piece is heard"
    model.save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm")
    assert torch.equal(loaded(ids), model(ids)), "weights are folded"
    assert not any("parametrization" in name for name in loaded.state_dict())
