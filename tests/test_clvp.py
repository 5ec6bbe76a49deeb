"""CLVP: symmetric, padding-proof, permutations, corruption, pure batches, learning, ranking, refusals."""

import math

import numpy as np
import pytest
import torch

from vectok import bpe
from vectok.alignment import AlignedWord
from vectok.clvp import check, corruption
from vectok.clvp.batches import ClvpBatches, ClvpDataConfig, pieces_of
from vectok.clvp.model import GROUP_ROWS, ROLES, Clvp, ClvpConfig, Padded, pad, similarity
from vectok.clvp.objective import ClvpObjective, contrastive_loss
from vectok.clvp.ranking import latents, speech_scores, text_scores
from vectok.lm.data import Utterance
from vectok.lm.vocabulary import Vocabulary
from vectok.training import TrainingConfig, fit

N_CLUSTERS = 12
VOCABULARY = Vocabulary(
    symbols=(" ", *"abcdefgh"), languages=("en", "fr"), n_pieces=16, codebook_hash="c", bpe_hash="b"
)
TINY = ClvpConfig(n_layers=2, dim=32, n_heads=2, ffn_dim=64)
DATA = ClvpDataConfig(
    pairs=("text", "speech"), batch_size=6, n_spoilt=2, speech_share=0.3, augmented_share=0.4, cut_share=0.3,
    n_curriculum_steps=0, curriculum_words=2, max_seconds=0.4, by_word_share=0.5, seed=3,
)  # fmt: skip
CORPUS = ["ab cd", "ef gh ab", "ba", "cd ef", "gh", "hg fe dc", "ac eg", "bd fh ca", "dh", "ga bc"]


@pytest.fixture(scope="module")
def tokenizer():
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randint(0, N_CLUSTERS, (60,), generator=generator) for _ in range(30)]
    return bpe.PieceTokenizer(bpe.train(tokens, bpe.BPEConfig(n_vocab=16, n_clusters=N_CLUSTERS)))


def utterance(tokenizer, text, language, number, pseudo=False):
    """A letter is a token of its own, three frames long; French and pseudo voices say another one."""
    shift = 2 * (language == "fr") + pseudo
    words, tokens, start = [], [], 0
    for word in text.split():
        tokens += [(ord(letter) - ord("a") + shift) % N_CLUSTERS for letter in word for _ in range(3)]
        ends = tuple(start + 3 * (place + 1) for place in range(len(word)))
        words.append(AlignedWord(word, start, ends[-1], ends))
        start = ends[-1]
    speaker = f"{language}{'~pseudo' * pseudo}"
    return Utterance(f"{speaker}/{number}", speaker, language, str(number), pseudo, np.array(tokens), words, tokenizer)


@pytest.fixture(scope="module")
def utterances(tokenizer):
    return [
        utterance(tokenizer, text, language, number, pseudo)
        for language in ("en", "fr")
        for pseudo in (False, True)
        for number, text in enumerate(CORPUS)
    ]


def latents_of(n, dim=8, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_loss_is_symmetric_and_knows_chance():
    matrix = 5 * torch.randn(7, 7, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(contrastive_loss(matrix), contrastive_loss(matrix.T))
    assert float(contrastive_loss(torch.zeros(16, 16))) == pytest.approx(math.log(16))
    assert float(contrastive_loss(100 * torch.eye(5))) == pytest.approx(0.0, abs=1e-6)


def test_spoilt_copies_make_the_texts_direction_harder_by_hand():
    loss = contrastive_loss(torch.zeros(4, 4), torch.zeros(4, 2))
    assert float(loss) == pytest.approx((math.log(6) + math.log(4)) / 2)
    far = contrastive_loss(torch.zeros(4, 4), torch.full((4, 2), -100.0))
    assert float(far) == pytest.approx(math.log(4))


def test_permutation_of_the_batch_permutes_the_similarities():
    left, right, scale = latents_of(6), latents_of(6, seed=1), torch.tensor(1.0)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    whole = similarity(left, right, scale)
    torch.testing.assert_close(similarity(left[order], right[order], scale), whole[order][:, order])
    torch.testing.assert_close(contrastive_loss(whole[order][:, order]), contrastive_loss(whole))
    torch.testing.assert_close(similarity(right, left, scale), whole.T)


def test_temperature_is_clamped():
    left = latents_of(3)
    greatest = similarity(left, left, torch.tensor(50.0)).diagonal()
    torch.testing.assert_close(greatest, torch.full((3,), 100.0))
    model = Clvp(TINY, VOCABULARY)
    assert model.temperature == pytest.approx(0.07)
    model.log_scale.data.fill_(50.0)
    assert model.temperature == pytest.approx(0.01)


@pytest.mark.parametrize("role", ROLES)
def test_latents_have_length_one_and_padding_changes_nothing(role):
    model = Clvp(TINY, VOCABULARY).eval()
    rows = [[1, 2, 3], [4, 5, 6, 7, 8, 0, 1], [2]]
    padded = pad(rows)
    with torch.no_grad():
        found = model(padded, role)
        alone = torch.cat(
            [model(Padded(torch.tensor([row]), torch.ones(1, len(row), dtype=bool)), role) for row in rows]
        )
        ids = padded.ids.masked_fill(~padded.mask, 999)  # no row of the embedding: it must not be read
        assert torch.equal(model(Padded(ids, padded.mask), role), found)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


def test_a_long_row_pads_its_group_alone(monkeypatch):
    model, widths = Clvp(TINY, VOCABULARY).eval(), []
    forward = type(model.speech_tower).forward
    monkeypatch.setattr(
        type(model.speech_tower), "forward", lambda self, rows: widths.append(rows.ids.shape) or forward(self, rows)
    )
    rows = [[place % 16] * (100 if place == 17 else 3) for place in range(2 * GROUP_ROWS + 5)]
    together = latents(model, rows, "speech")
    assert widths == [(GROUP_ROWS, 112), (GROUP_ROWS, 16), (5, 16)]
    torch.testing.assert_close(together[17], latents(model, [rows[17]], "speech")[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[3], latents(model, [rows[3]], "speech")[0], atol=1e-5, rtol=1e-5)


def test_order_of_ids_matters():
    model = Clvp(TINY, VOCABULARY).eval()
    with torch.no_grad():
        one, other = model(pad([[1, 2, 3, 4], [4, 3, 2, 1]]), "speech")
    assert (one - other).abs().max() > 1e-3


def test_paper_preset_has_its_parameters():
    with torch.device("meta"):
        model = Clvp(ClvpConfig(n_layers=6, dim=512, n_heads=8, ffn_dim=2048), VOCABULARY)
    towers = (model.text_tower, model.speech_tower)
    blocks = sum(
        p.numel() for tower in towers for part in (tower.attention, tower.feed_forward) for p in part.parameters()
    )
    assert blocks == 2 * 6 * 3_152_384  # 37.8 M: the paper's "about 38 M" for both towers
    embeddings = sum(tower.embedding.weight.numel() for tower in towers)
    assert model.n_parameters == blocks + embeddings + 2 * 2 * 512 + 4 * 512 * 512 + 1


def test_each_corruption_by_hand():
    words = [np.array([10 * place + frame for frame in range(6)]) for place in range(4)]
    others = [np.array([90, 91])]
    for seed in range(20):
        random = np.random.default_rng(seed)
        swapped = corruption.swap(words, others, random)
        assert len(swapped) == 4 and 1 <= sum(word[0] == 90 for word in swapped) <= 3
        dropped = corruption.drop(words, others, random)
        assert 2 <= len(dropped) <= 3 and {word[0] for word in dropped} < {0, 10, 20, 30}
        part = corruption.cut(words, others, random)
        assert sorted(map(len, part))[1:] == [6, 6, 6] and 2 <= min(map(len, part)) <= 4
        assert 5 <= len(corruption.repeat(words, others, random)) <= 7
        assert [word[0] for word in corruption.insert(words, others, random)].count(90) == 1
        assert len(corruption.drop(words[:1], others, random)[0]) < 6


def test_corruption_never_gives_the_utterance_back(utterances):
    random = np.random.default_rng(0)
    for each in utterances:
        words = [each.tokens[word.start : word.end] for word in each.words]
        others = [np.full(5, 11)]
        spoilt = np.concatenate(corruption.corrupt(words, others, random))
        assert len(spoilt) and not np.array_equal(spoilt, each.tokens)


def test_batches_are_pure_and_of_one_language(utterances):
    batches, again = (ClvpBatches(utterances, VOCABULARY, DATA) for _ in range(2))
    kinds = set()
    for step in range(12):
        one, same = batches(step), again(step)
        assert torch.equal(one.right.ids, same.right.ids) and torch.equal(one.left.ids, same.left.ids)
        kinds.add(one.of_text)
        n = len(one.left.ids)
        assert 2 <= n <= DATA.batch_size and len(one.right.ids) == (n * 3 if one.of_text else n)
        rows = [tuple(row[mask].tolist()) for row, mask in zip(*one.left, strict=True)]
        assert len(set(rows)) == n  # no text twice: there would be two right answers
    assert kinds == {True, False}


def test_pairs_of_a_batch_belong_together(utterances):
    config = ClvpDataConfig(
        pairs=("text",), batch_size=6, n_spoilt=1, speech_share=0.0, augmented_share=0.0, cut_share=0.5,
        n_curriculum_steps=2, curriculum_words=1, max_seconds=0.2, by_word_share=1.0, seed=1,
    )  # fmt: skip
    batches, tokenizer = ClvpBatches(utterances, VOCABULARY, config), utterances[0].tokenizer
    for step in range(5):
        batch = batches(step)
        for place in range(len(batch.left.ids)):
            text = "".join(VOCABULARY.symbols[i] for i in batch.left.ids[place][batch.left.mask[place]].tolist())
            tokens = tokenizer.decode(batch.right.ids[place][batch.right.mask[place]])[::3]
            said = {tuple((ord(c) - 97 + shift) % N_CLUSTERS for c in text if c != " ") for shift in (0, 2)}
            assert tuple(tokens.tolist()) in said
            spoilt = batch.right.ids[place + len(batch.left.ids)][batch.right.mask[place + len(batch.left.ids)]]
            assert not torch.equal(
                tokenizer.decode(spoilt), tokenizer.decode(batch.right.ids[place][batch.right.mask[place]])
            )


def test_curriculum_begins_with_single_words(utterances):
    config = ClvpDataConfig(**{**vars(DATA), "n_curriculum_steps": 3, "curriculum_words": 1, "cut_share": 0.0})
    batches, separator = ClvpBatches(utterances, VOCABULARY, config), VOCABULARY.symbols.index(" ")
    has_spaces = [bool((batches(step).left.ids == separator)[batches(step).left.mask].any()) for step in range(3)]
    assert not any(has_spaces) and all(batches(step).of_text for step in range(3))
    later = [batches(step) for step in range(3, 9)]
    assert any((batch.left.ids == separator)[batch.left.mask].any() for batch in later if batch.of_text)


def test_segmentations_say_the_same(utterances):
    each = utterances[1]
    words = [each.tokens[word.start : word.end] for word in each.words]
    for by_word in (True, False):
        tokens = each.tokenizer.decode(torch.tensor(pieces_of(words, each, by_word)))
        assert np.array_equal(tokens.numpy(), each.tokens)


def test_loss_falls_and_the_right_speech_is_found(utterances, tmp_path):
    model = Clvp(TINY, VOCABULARY)
    batches = ClvpBatches(utterances, VOCABULARY, DATA)
    real = [each for each in utterances if not each.pseudo]
    held_out = check.held_out(real, 5, 2, 0)
    training = TrainingConfig(n_steps=120, learning_rate=0.005, n_warmup_steps=5, precision="no")
    objective = ClvpObjective(model, lambda m: check.measure(m, held_out, DATA.pairs), 100)
    before = model.temperature
    history = fit(objective, batches, training, tmp_path, "test")
    curve = history["text_nats"].dropna()
    assert curve.iloc[-10:].mean() < 0.6 * curve.iloc[:10].mean()
    found = check.measure(model, held_out, DATA.pairs)
    assert found["speech_found"] > 60 and found["text_found"] > 60 and found["true_over_spoilt"] > 60
    assert set(found) == {"speech_found", "text_found", "true_over_spoilt", "target_found", "source_found"}
    assert model.temperature != before and {"speech_found", "source_nats"} <= set(history)


def test_chance_is_the_share_of_groups(utterances):
    real = [each for each in utterances if not each.pseudo]
    found = check.held_out(real, 5, 1, 0)
    assert [len(group) for group in found.groups] == [5, 5, 5, 5]
    assert all(len({each.language for each in group}) == 1 for group in found.groups)
    assert check.retrieval(Clvp(TINY, VOCABULARY).eval(), found).chance == pytest.approx(0.2)


def test_scores_are_means_over_two_words_in_the_order_given():
    model = Clvp(TINY, VOCABULARY).eval()
    texts = [["ab", "c", "de"], ["c"], ["e", "f"]]
    candidates = [[[[1], [2, 3], [4]], [[1], [], []]], [[[6]]], [[[7, 8], [9]], [[], []]]]
    scores = text_scores(model, texts, candidates)

    def cosine(text, pieces):
        with torch.no_grad():
            return float((model(pad([model.symbols(text)]), "text") * model(pad([pieces]), "speech")).sum())

    assert [len(own) for own in scores] == [2, 1, 2]
    assert scores[0][0] == pytest.approx((cosine("ab c", [1, 2, 3]) + cosine("c de", [2, 3, 4])) / 2, abs=1e-5)
    assert scores[0][1] == pytest.approx((cosine("ab c", [1]) - 1) / 2, abs=1e-5), "words unsaid are as far as can be"
    assert scores[1][0] == pytest.approx(cosine("c", [6]), abs=1e-5)
    assert scores[2][0] == pytest.approx(cosine("e f", [7, 8, 9]), abs=1e-5) and scores[2][1] == -1.0
    assert text_scores(model, [[""]], [[[[]]]]) == [[-1.0]], "what nobody says is never read"
    assert text_scores(model, [], []) == []


def test_translations_are_scored_as_a_whole():
    model = Clvp(TINY, VOCABULARY).eval()
    found = speech_scores(model, [[1, 2], [3], [4]], [[[1, 2, 3], [4, 5]], [[6]], [[7, 8, 9, 1], [], [2]]])
    assert [len(own) for own in found] == [2, 1, 3] and found[2][1] == -1.0 and abs(found[0][0]) <= 1
    with torch.no_grad():
        source, target = model(pad([[3]]), "source"), model(pad([[6]]), "target")
    assert found[1][0] == pytest.approx(float((source * target).sum()), abs=1e-5)


def test_company_does_not_change_latents():
    model = Clvp(TINY, VOCABULARY).eval()
    rows = [list(range(1, n)) for n in range(2, 14)]
    together = latents(model, rows, "speech")
    alone = torch.cat([latents(model, [row], "speech") for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_saved_is_loaded_and_another_vocabulary_is_refused(tmp_path):
    model = Clvp(TINY, VOCABULARY).eval()
    model.save(tmp_path / "clvp")
    again = Clvp.load(tmp_path / "clvp")
    assert torch.equal(latents(again, [[1, 2, 3]], "target"), latents(model, [[1, 2, 3]], "target"))
    other = Vocabulary(symbols=(" ", *"abcdefgh"), languages=("en", "fr"), n_pieces=16, codebook_hash="x", bpe_hash="b")
    other.save(tmp_path / "clvp" / "vocabulary.json")
    with pytest.raises(ValueError, match=f"{other.content_hash}, got {VOCABULARY.content_hash}"):
        Clvp.load(tmp_path / "clvp")
    with pytest.raises(ValueError, match="run the clvp stage"):
        Clvp.load(tmp_path / "none")


def test_mistakes_are_named(utterances):
    with pytest.raises(ValueError, match="one id at least"):
        pad([[1], []])
    with pytest.raises(ValueError, match="pairs out of text, speech"):
        ClvpDataConfig(**{**vars(DATA), "pairs": ("words",)})
    with pytest.raises(ValueError, match="two languages"):
        ClvpBatches([each for each in utterances if each.language == "en"], VOCABULARY, DATA)
    with pytest.raises(ValueError, match="symbols"):
        text_scores(Clvp(TINY, VOCABULARY).eval(), [["ж"]], [[[[1]]]])
