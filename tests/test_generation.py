"""Generation: cached equals full, company changes nothing, words are forced, limits hold, sampling by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from vectok.lm import decoding, generation, sampling, writing
from vectok.lm.decoding import Decoder, Row, _plain_attention, decode
from vectok.lm.generation import GenerationConfig, Request, _Candidate, _recent, generate
from vectok.lm.model import LanguageModel, LanguageModelConfig
from vectok.lm.sequences import tts_text
from vectok.lm.speed import compare_speed
from vectok.lm.vocabulary import Vocabulary
from vectok.lm.writing import Heard, WritingConfig, transcribe, write, write_drafts

VOCABULARY = Vocabulary(
    symbols=(" ", "a", "b", "c"), languages=("en", "fr"), n_pieces=20, codebook_hash="c", bpe_hash="b"
)
CONFIG = GenerationConfig(max_pieces_per_word=5, max_pieces=12, top_p=0.95, temperature=1.0, penalty_window=3)
END, NEXT = VOCABULARY.tag("end"), VOCABULARY.tag("next")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(7)
    made = LanguageModel(LanguageModelConfig(n_layers=2, dim=32, n_heads=2, ffn_dim=48, tied=True), VOCABULARY).eval()
    for parameter in made.parameters():
        parameter.data *= 4 if parameter.dim() > 1 else 1  # far from uniform
    return made


def spoken(item, text, n_candidates=3, prompt=(1, 2, 3)):
    forced = tts_text(VOCABULARY, "en", prompt, text.split())
    return Request(item, forced.prefix, forced.queue, n_candidates)


def plain(item, prompt, n_candidates=3, max_frames=None):
    prefix = [VOCABULARY.tag("continue"), VOCABULARY.language("fr"), *VOCABULARY.encode_pieces(prompt)]
    return Request(item, prefix, (), n_candidates, max_frames)


def requests():
    return [
        spoken("one", "ab c abc"),
        plain("two", [4, 5, 6, 7, 8]),
        spoken("three", "a", 5, ()),
        plain("four", [1] * 40, 2),
    ]


class Recorded(Row):
    """Reads given ids and keeps the scores behind each."""

    def __init__(self, prefix, given):
        super().__init__(prefix)
        self.given, self.scores = list(given), []


def recorded(model, sequences, n_prefix, n_rows):
    rows = [Recorded(ids[:n_prefix], ids[n_prefix:]) for ids in sequences]

    def advance(active, scores):
        for row, each in zip(active, scores, strict=True):
            row.scores.append(each)
            row.done = not row.given
            row.next_id = row.given.pop(0) if row.given else row.next_id

    decode(model, rows, advance, n_rows)
    return [torch.stack(row.scores) for row in rows]


def test_grouped_attention_is_attention():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, heads, n, 8, generator=generator) for heads, n in ((4, 5), (2, 9), (2, 9)))
    mask = torch.zeros(3, 1, 5, 9).masked_fill(torch.rand(3, 1, 5, 9, generator=generator) < 0.3, -torch.inf)
    found = decoding.grouped_attention(query, key, value, mask, 0.3)
    own = [part.repeat_interleave(2, 1) for part in (key, value)]
    expected = torch.nn.functional.scaled_dot_product_attention(query, *own, attn_mask=mask, scale=0.3)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def test_shared_keys_are_kept_once_and_decoded_alike():
    torch.manual_seed(3)
    sizes = LanguageModelConfig(n_layers=2, dim=32, n_heads=4, n_kv_heads=2, ffn_dim=48, tied=True)
    shared = LanguageModel(sizes, VOCABULARY).eval()
    assert decoding.RaggedCache(shared.llama, 3).keys.shape[:3] == (2, 3, 2)
    ids = torch.randint(0, VOCABULARY.n_ids, (20,)).tolist()
    with torch.no_grad():
        whole = shared(torch.tensor([ids]))[0, 3:]
    torch.testing.assert_close(recorded(shared, [ids], 4, 1)[0], whole, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("n_prefix", [1, 2, 5])
@pytest.mark.parametrize("n_rows", [1, 3, 64])
def test_cached_decoding_is_full_decoding(model, n_prefix, n_rows):
    generator = torch.Generator().manual_seed(1)
    sequences = [
        torch.randint(0, VOCABULARY.n_ids, (n,), generator=generator).tolist() for n in (6, 40, 7, 19, 33, 5, 5)
    ]
    for ids, scores in zip(sequences, recorded(model, sequences, n_prefix, n_rows), strict=True):
        with torch.no_grad():
            whole = model(torch.tensor([ids]))[0, n_prefix - 1 :]
        torch.testing.assert_close(scores, whole, atol=2e-4, rtol=1e-4)


def test_company_does_not_change_scores(model):
    generator = torch.Generator().manual_seed(2)
    sequences = [torch.randint(0, VOCABULARY.n_ids, (n,), generator=generator).tolist() for n in range(4, 24)]
    together = recorded(model, sequences, 2, 64)
    few = recorded(model, sequences[::-1], 2, 3)[::-1]
    for one, other in zip(together, few, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_same_candidates_in_any_order_and_number(model):
    expected = {(each.item, each.candidate): each for each in generate(model, requests(), CONFIG)}
    assert len({tuple(each.ids) for each in expected.values()}) > 8  # candidates differ
    for order, n_rows in (([3, 2, 1, 0], 64), ([1, 3, 0, 2], 3), ([2, 0, 3, 1], 1)):
        found = generate(model, [requests()[place] for place in order], replace(CONFIG, n_rows=n_rows))
        for each in found:
            same = expected[each.item, each.candidate]
            assert each.ids == same.ids and each.stopped == same.stopped
            assert each.logprob == pytest.approx(same.logprob, rel=1e-5)


def test_fewer_candidates_are_the_first_of_many(model):
    many = generate(model, [spoken("one", "ab c", 6)], CONFIG)
    assert [each.ids for each in generate(model, [spoken("one", "ab c", 2)], CONFIG)] == [e.ids for e in many[:2]]


def test_seed_and_item_change_the_noise(model):
    ids = [each.ids for each in generate(model, [spoken("one", "ab c")], CONFIG)]
    assert ids != [each.ids for each in generate(model, [spoken("two", "ab c")], CONFIG)]
    assert ids != [each.ids for each in generate(model, [spoken("one", "ab c")], replace(CONFIG, seed=1))]


def test_prefix_is_encoded_once_for_all_candidates(model, monkeypatch):
    calls, encode = [], Decoder.encode
    monkeypatch.setattr(Decoder, "encode", lambda self, prefix: calls.append(prefix) or encode(self, prefix))
    generate(model, [spoken("one", "ab", 9), plain("two", [1, 2], 7)], replace(CONFIG, n_rows=4))
    assert len(calls) == 2


def test_shared_prefix_is_that_of_separate_ones(model):
    prefix = VOCABULARY.encode_pieces([1, 2, 3, 4, 5])
    with torch.no_grad(), _plain_attention(model.llama):
        shared, separate = Decoder(model, 4), Decoder(model, 4)
        encoded = shared.encode(prefix)
        for _ in range(4):
            shared.admit(encoded)
            separate.admit(separate.encode(prefix))
        assert torch.equal(shared.step([1, 2, 3, 4]), separate.step([1, 2, 3, 4]))


def test_attention_of_the_model_is_left_as_it_was(model):
    before = model.llama.config._attn_implementation
    generate(model, [spoken("one", "a")], CONFIG)
    assert model.llama.config._attn_implementation == before == "sdpa"


def test_words_are_forced_and_stand_where_they_belong(model):
    request = spoken("one", "ab c abc", 8)
    for found in generate(model, [request], CONFIG):
        ids, queue, words = list(found.ids), [list(entry) for entry in request.queue], [[]]
        while ids:
            if ids[0] >= VOCABULARY.first_piece:
                words[-1].append(ids.pop(0) - VOCABULARY.first_piece)
                continue
            entry = queue.pop(0)
            assert ids[: len(entry)] == entry
            words += [[]] if entry[0] == NEXT else []
            ids = ids[len(entry) :]
        assert not queue and words[:-1] == found.pieces_by_word and found.ids[-1] == END
        assert all(1 <= len(word) <= CONFIG.max_pieces_per_word for word in found.pieces_by_word)
        if found.stopped:
            assert found.n_drawn == sum(map(len, found.pieces_by_word)) + len(request.queue)


def test_all_symbols_together_say_when_to_go_on_within_a_word(model):
    scores = np.zeros(VOCABULARY.n_ids)
    scores[VOCABULARY.first_symbol : VOCABULARY.first_piece] = np.log(2.0)
    row = generation._Candidate(spoken("one", "abc"), 0, VOCABULARY, CONFIG)
    n_symbols = VOCABULARY.first_piece - VOCABULARY.first_symbol
    assert generation._going_on(row, scores, VOCABULARY) == pytest.approx(np.log(2.0 * n_symbols))
    row.queue.popleft()
    assert generation._going_on(row, scores, VOCABULARY) == -np.inf, "a word has one piece at least"
    row.words[-1].append(3)
    assert generation._going_on(row, scores, VOCABULARY) == 0.0


def test_runaway_words_are_cut_and_reported(model):
    found = generate(model, [spoken("one", "ab c", 20)], replace(CONFIG, max_pieces_per_word=1))
    assert {len(word) for each in found for word in each.pieces_by_word} == {1}
    assert not any(each.stopped for each in found)
    roomy = generate(model, [spoken("one", "ab c", 20)], replace(CONFIG, max_pieces_per_word=200))
    assert all(each.stopped for each in roomy)


def test_plain_mode_ends_at_end_or_is_cut(model):
    found = generate(model, [plain("one", [1, 2, 3], 40)], CONFIG)
    assert {each.stopped for each in found} == {True, False}
    for each in found:
        assert len(each.pieces_by_word) == 1 and each.ids == [*VOCABULARY.encode_pieces(each.pieces), END]
        assert each.stopped or len(each.pieces) == CONFIG.max_pieces


def test_continuation_is_capped_in_frames(model):
    frames = torch.arange(VOCABULARY.n_pieces) % 4 + 1
    found = generate(model, [plain("one", [1, 2, 3], 30, max_frames=9)], replace(CONFIG, max_pieces=200), frames)
    assert {each.stopped for each in found} == {True, False}
    for each in found:
        n_frames, last = int(frames[each.pieces].sum()), int(frames[each.pieces[-1]])
        assert (n_frames < 9) if each.stopped else (n_frames >= 9 > n_frames - last and each.ids[-1] != END)


def test_logprob_is_the_models_own(model):
    request = spoken("one", "ab c", 6)
    for found in generate(model, [request], replace(CONFIG, max_pieces_per_word=300)):
        ids = [*request.prefix, *found.ids]
        with torch.no_grad():
            scores = model(torch.tensor([ids]))[0].double()
        expected, word = 0.0, 0
        for place in range(len(request.prefix), len(ids)):
            if ids[place] >= VOCABULARY.first_piece or ids[place] == NEXT:
                allowed = scores[place - 1].clone()
                allowed[: VOCABULARY.first_piece] = -torch.inf
                allowed[NEXT] = scores[place - 1, NEXT] if word else -torch.inf
                expected += float(allowed.log_softmax(-1)[ids[place]])
                word = 0 if ids[place] == NEXT else word + 1
        assert found.logprob == pytest.approx(expected, rel=1e-4)


def test_nothing_comes_of_nothing_and_mistakes_are_named(model):
    assert generate(model, [], CONFIG) == []
    with pytest.raises(ValueError, match="one more than once"):
        generate(model, [spoken("one", "a"), spoken("one", "b")], CONFIG)
    with pytest.raises(ValueError, match="piece_frames"):
        generate(model, [plain("one", [1], max_frames=4)], CONFIG)
    with pytest.raises(ValueError, match="one candidate"):
        generate(model, [spoken("one", "a", 0)], CONFIG)
    with pytest.raises(ValueError, match="prefix of one id"):
        generate(model, [Request("one", [])], CONFIG)
    with pytest.raises(ValueError, match="temperature > 0"):
        GenerationConfig(temperature=0.0)
    with pytest.raises(ValueError, match="one row"):
        GenerationConfig(n_rows=0)


def test_noise_is_uniform_and_keyed():
    values = np.array([sampling.noise(1, "item", candidate, step) for candidate in range(50) for step in range(100)])
    assert values.min() >= 0 and values.max() < 1
    assert np.abs(np.histogram(values, 10, (0, 1))[0] - 500).max() < 100
    assert sampling.noise(1, "1\t1", 0, 0) != sampling.noise(1, "1", 1, 0)
    assert len(set(values.tolist())) == len(values)


def test_penalty_and_nucleus_agree_with_transformers():
    scores = 3 * torch.randn(5, 30, generator=torch.Generator().manual_seed(3))
    recent = torch.zeros(5, 30, dtype=torch.bool)
    ids = torch.tensor([[1, 4, 4], [0, 0, 0], [29, 2, 3], [5, 6, 7], [9, 9, 8]])
    recent.scatter_(1, ids, True)
    theirs = RepetitionPenaltyLogitsProcessor(2.0)(ids, scores)
    ours = sampling.penalise(scores.numpy(), recent.numpy(), 2.0)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-6)
    for top_p in (0.1, 0.5, 0.8, 0.99):
        kept = sampling.nucleus(sampling.softmax(ours.astype(np.float64)), top_p) > 0
        assert np.array_equal(kept, torch.isfinite(TopPLogitsWarper(top_p)(ids, theirs)).numpy())


def test_nucleus_by_hand():
    shares = np.array([[0.1, 0.4, 0.2, 0.3]])
    assert (sampling.nucleus(shares, 0.7) > 0).tolist() == [[False, True, False, True]]
    assert (sampling.nucleus(shares, 0.71) > 0).tolist() == [[False, True, True, True]]
    assert (sampling.nucleus(shares, 1e-9) > 0).tolist() == [[False, True, False, False]]
    assert (sampling.nucleus(shares, 1.0) > 0).all()


def test_draws_follow_their_weights():
    uniforms = (np.arange(1000) + 0.5) / 1000
    chosen = sampling.draw(np.tile([[1.0, 0.0, 3.0, 1.0]], (1000, 1)), uniforms)
    assert np.bincount(chosen, minlength=4).tolist() == [200, 0, 600, 200]


def test_penalty_holds_for_the_last_pieces_of_the_word_alone(model):
    row = _Candidate(spoken("one", "ab c"), 0, VOCABULARY, CONFIG)
    row.words = [[1, 2, 3], [4, 5, 6, 5, 7]]
    assert np.flatnonzero(_recent([row], 20, 3)[0]).tolist() == [6, 7, 8]  # column 0 ends the word
    assert not _recent([row], 20, 0).any()
    row.words.append([])
    assert not _recent([row], 20, 3).any()


def scripted(monkeypatch):
    """Steps of a model that are read off what it was given."""
    made = LanguageModel(LanguageModelConfig(n_layers=1, dim=16, n_heads=1, ffn_dim=16, tied=True), VOCABULARY).eval()
    after = {13 + VOCABULARY.first_piece: "a", VOCABULARY.encode_text("a")[0]: "b", VOCABULARY.tag("text"): "c"}

    def step(self, ids):
        scores = torch.zeros(len(ids), VOCABULARY.n_ids)
        scores[:, VOCABULARY.first_piece :] = 5.0
        scores[:, END] = 1.0
        for row, read in enumerate(ids):
            if read in after:
                scores[row, VOCABULARY.encode_text(after[read])] = 20.0
        return scores

    monkeypatch.setattr(Decoder, "step", step)
    return made


@pytest.mark.parametrize("interleaved", [True, False])
def test_transcripts_are_written_while_pieces_stream_in(monkeypatch, interleaved):
    made, order = scripted(monkeypatch), []
    take = writing._take
    monkeypatch.setattr(
        writing, "_take", lambda row, chosen, written: order.append(chosen) or take(row, chosen, written)
    )
    found = transcribe(made, [Heard("en", [11, 12, 13, 14, 15])], WritingConfig(), interleaved)
    assert found == [writing.Written("abc" if interleaved else "c", True)]
    pieces, (a, b, c) = VOCABULARY.encode_pieces([11, 12, 13, 14, 15]), VOCABULARY.encode_text("abc")
    if interleaved:
        assert order == [*pieces[:3], a, b, *pieces[3:], VOCABULARY.tag("text"), c]


def test_endless_texts_are_cut_and_reported(model, monkeypatch):
    def step(self, ids):
        scores = torch.zeros(len(ids), VOCABULARY.n_ids)
        scores[:, VOCABULARY.first_symbol + 1] = 9.0
        return scores

    monkeypatch.setattr(Decoder, "step", step)
    assert write(model, [[3, 4]], WritingConfig(max_symbols=6)) == [writing.Written("aaaaaa", False)]
    config = WritingConfig(max_symbols=3, max_symbols_per_piece=2)
    assert write_drafts(model, [[3]], config, [[30, 31]]) == [[writing.Written("aa" * 2 + "aaa", False)]]


def test_greedy_text_is_that_of_transformers(model):
    prefixes = [[7, 10, 12, 13, 4, 11], [7, 11, 13, 13, 15, 4, 10], [7, 10, 14, 4, 11]]
    found = write(model, prefixes, WritingConfig(max_symbols=10, n_rows=2))
    banned = [i for i in range(VOCABULARY.n_ids) if i != END and not 12 <= i < VOCABULARY.first_piece]
    for prefix, written in zip(prefixes, found, strict=True):
        ids = torch.tensor([prefix])
        whole = model.llama.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=10, suppress_tokens=banned
        )
        assert written.text == VOCABULARY.decode_text(whole[0, len(prefix) :].tolist())
        assert written.stopped == (END in whole[0, len(prefix) :].tolist())


def test_drafts_are_the_same_in_any_company_and_the_first_is_greedy(model, monkeypatch):
    heard = [Heard("en", [1, 2, 3, 9]), Heard("en", [5, 6]), Heard("en", [7, 8, 1])]
    drafts = WritingConfig(max_symbols=8, n_drafts=5, temperature=1.5, seed=3)
    shown = []
    monkeypatch.setattr(writing, "vote", lambda texts: shown.append(texts) or texts[0])
    greedy = transcribe(model, heard, WritingConfig(max_symbols=8), True)
    assert transcribe(model, heard, drafts, True) == greedy
    together = shown[-3:]
    assert all(len(set(texts[1:])) > 1 for texts in together), "drawn drafts of one text differ"
    for one, texts in zip(reversed(heard), reversed(together), strict=True):
        transcribe(model, [one], replace(drafts, n_rows=2), True)
        assert shown[-1] == texts
    transcribe(model, heard, replace(drafts, seed=4), True)
    assert shown[-3:] != together


def test_cold_drafts_are_greedy(model):
    """Where the greedy rule and the likeliest of reading and writing agree, drafts at no temperature are all alike."""
    prefixes = [[7, 10, 12, 13, 4, 11], [7, 10, 14, 4, 11]]
    found = write_drafts(model, prefixes, WritingConfig(max_symbols=10, n_drafts=3, temperature=1e-4), [(), ()])
    assert [len(own) for own in found] == [3, 3] and all(len(set(own)) == 1 for own in found), found


def test_letters_are_voted_for():
    assert writing.vote(["abcd"]) == "abcd"
    assert writing.vote(["abxd", "abcd", "abcd"]) == "abcd"
    assert writing.vote(["bcde", "abde", "abcd"]) == "abcde", "each lacks another letter"
    assert writing.vote(["ad", "ad", "abcd", "abcd", "abcd"]) == "abcd"
    assert writing.vote(["abxc", "aybc", "abzc", "wabc"]) == "abc", "what the nearest alone has goes"
    assert writing.vote(["ab", "xab", "xab", "ab"]) == "ab", "a half is no majority: what is not in the base stays out"
    assert writing.vote(["", "", "a"]) == "" and writing.vote(["", ""]) == ""


def test_transcripts_are_voted_for_and_translations_chosen(model, monkeypatch):
    heard, config = [Heard("en", [1, 2, 3, 9, 4, 4])], WritingConfig(max_symbols=8, n_drafts=6, temperature=1.5)
    given = [VOCABULARY.tag("asr"), VOCABULARY.language("en")]
    stream = [*VOCABULARY.encode_pieces(heard[0].pieces), VOCABULARY.tag("text")]
    texts = [draft.text for draft in write_drafts(model, [given], config, [stream])[0]]
    assert len(set(texts)) > 1 and transcribe(model, heard, config, True)[0].text == writing.vote(texts)
    monkeypatch.setattr(writing, "consensus", lambda texts: 2)
    chosen = write_drafts(model, [[7, 10, 12, 4, 11]], config, [()])[0][2]
    assert write(model, [[7, 10, 12, 4, 11]], config) == [chosen]


def test_drafts_write_as_often_as_the_model_believes(model, monkeypatch):
    """All symbols together against reading on: a share of .25 is drawn a quarter of the time."""

    def step(self, ids):
        scores = torch.full((len(ids), VOCABULARY.n_ids), -30.0)
        first = VOCABULARY.first_symbol
        scores[:, first : first + 2] = np.log(0.125)
        scores[:, VOCABULARY.first_piece] = np.log(0.5)
        scores[:, END] = np.log(0.25)  # before the speech has ended, no more than another way of reading on
        return scores

    monkeypatch.setattr(Decoder, "step", step)
    config = WritingConfig(threshold=0.5, n_drafts=400, temperature=1.0, max_symbols_per_piece=1, max_symbols=0)
    stream = VOCABULARY.encode_pieces([3] * 8)
    greedy, *drawn = write_drafts(model, [[3, 4]], config, [stream])[0]
    lengths = [len(draft.text) for draft in drawn]
    assert np.mean(lengths) == pytest.approx(8 * 0.25, rel=0.12)
    assert np.mean([0 < n < 8 for n in lengths]) > 0.8, "every place draws for itself"
    _, *drawn = write_drafts(model, [[3, 4]], replace(config, threshold=0.7), [stream])[0]
    careful = 0.25 / (0.25 + 0.75 * 0.7 / 0.3)  # reading on counts 7/3 times
    assert np.mean([len(draft.text) for draft in drawn]) == pytest.approx(8 * careful, rel=0.12)
    assert greedy.text == "", "the greedy draft never writes below its threshold"
    bold = replace(config, threshold=0.2, n_drafts=1)
    assert len(write_drafts(model, [[3, 4]], bold, [stream])[0][0].text) == 8


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 7.0])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        WritingConfig(threshold=threshold)


def test_transcripts_need_pieces(model):
    with pytest.raises(ValueError, match=r"utterances \[1\]"):
        transcribe(model, [Heard("en", [1]), Heard("en", [])], WritingConfig(), True)


def test_speed_is_measured_on_both_sides(model):
    found = compare_speed(model, plain("one", [1, 2, 3], 3), CONFIG)
    assert 3 <= found.n_ids <= 3 * CONFIG.max_pieces and 3 <= found.n_plain_ids <= 3 * CONFIG.max_pieces
    assert found.ratio == pytest.approx(found.ids_per_second / found.plain_ids_per_second)
    with pytest.raises(ValueError, match="queue"):
        compare_speed(model, spoken("one", "a"), CONFIG)


def test_progress_counts_every_sequence(model, monkeypatch):
    ended, bar = [], decoding.tqdm
    monkeypatch.setattr(bar, "update", lambda self, n=1: ended.append(n))
    generate(model, requests(), replace(CONFIG, n_rows=3))
    assert sum(ended) == sum(request.n_candidates for request in requests())


def test_long_texts_begin_first_and_results_keep_their_order(model, monkeypatch):
    begun, inner = [], generation.decode

    def watch(lm, rows, *rest):
        begun.extend(row.request.item for row in rows)
        inner(lm, rows, *rest)

    monkeypatch.setattr(generation, "decode", watch)
    found = generate(
        model, [spoken("short", "a", 2), spoken("long", "ab ab c", 2), spoken("middle", "ab c", 1)], CONFIG
    )
    assert begun == ["long", "long", "middle", "short", "short"]
    assert [each.item for each in found] == ["short", "short", "long", "long", "middle"]
