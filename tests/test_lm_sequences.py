"""What stands in a sequence of each task, where its loss lies, and which utterances reach a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.spoken import make_tokenizer, make_utterances, make_vocabulary
from tests.synthetic import make_store
from vectok.alignment import AlignedWord, Alignments, save
from vectok.lm import batches, check, data, sequences
from vectok.lm.batches import LMBatches, LMDataConfig, SequenceMaker, misread
from vectok.lm.sequences import Speech, SpokenWord, TaskSequence
from vectok.tokens import TokenTable, save_tokens

VOCABULARY = make_vocabulary()
TOKENIZER = make_tokenizer()
CONFIG = LMDataConfig(
    batch_ids=300,
    task_shares={"tts": 0.5, "asr": 0.3, "mt": 0.1, "continuation": 0.1},
    interleaved=True,
    augmented_share=0.5,
    prompt_share=0.5,
    min_prompt_seconds=0.1,
    max_prompt_seconds=0.4,
    asr_delay=4,
    context_weight=0.25,
    n_curriculum_steps=32,
    max_cut_words=2,
    seed=3,
)
WORDS = [
    SpokenWord("abca", [2, 3, 7, 9], [1, 2, 3, 4], [1, 4, 6, 9]),
    SpokenWord("c", [8], [3], [8]),
    SpokenWord("da", [2, 20], [4, 5], [10, 22]),
]
ALIGNED = [AlignedWord("ab", 0, 10, (4, 8)), AlignedWord("c", 10, 20, (16,))]


def read(found: TaskSequence) -> str:
    return " ".join(name.replace(" ", "_") for name in VOCABULARY.names(found.ids))


def test_tts_puts_each_word_right_before_its_speech_and_each_character_one_before_it_is_said():
    found = sequences.tts(VOCABULARY, "en", [7], WORDS, 50, 0.25)
    # a lasts frames 0-2, b 2-3, c 3-7: c is known when b begins (in piece 2), the last a when c begins (there too).
    assert read(found) == (
        "<tts> <lang:en> #7 <text> a b c a <say> a b #1 c a #2 #3 #4 <next> "
        "_ c <say> c #3 <next> _ d a <say> d a #4 #5 <next> <end>"
    )
    loss = [1, 1, 1, 1, 1, 1, 1]
    assert found.weights == [0, 0, 0.25, *[0] * 8, *loss, *[0] * 4, 1, 1, *[0] * 6, 1, 1, 1, 0]
    assert found.n_frames == 50


def test_tts_of_one_word():
    found = sequences.tts(VOCABULARY, "fr", [], WORDS[1:2], 5, 0.25)
    assert read(found) == "<tts> <lang:fr> <text> c <say> c #3 <next> <end>"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_a_character_is_known_when_the_one_before_it_begins_and_no_sooner_than_a_piece(lengths, pieces):
    ends = np.cumsum(lengths).tolist()
    piece_ends = np.cumsum(pieces).tolist()
    assume(piece_ends[-1] >= ends[-1])
    word = SpokenWord("a" * len(ends), ends, [0] * len(pieces), piece_ends)
    before = sequences.said_before(word)
    assert len(before) == max(0, len(ends) - 2) and before == sorted(before)
    for place, n_before in enumerate(before, 2):
        begins = ends[place - 2]
        assert n_before == len(pieces) or piece_ends[n_before] > begins
        assert n_before == 0 or piece_ends[n_before - 1] <= begins


def test_forced_text_is_what_training_shows_between_the_speech():
    forced = sequences.tts_text(VOCABULARY, "en", [7], [word.word for word in WORDS])
    whole = [*forced.prefix, *(i for entry in forced.queue for i in entry)]
    trained = sequences.tts(VOCABULARY, "en", [7], WORDS, 50, 0.25).ids
    said = [i for place, i in enumerate(trained) if i < VOCABULARY.first_piece or place < len(forced.prefix)]
    assert said == whole


def test_asr_writes_each_character_a_delay_behind_its_end():
    # Pieces end at 5, 9, 13, 20; "a" ends at 4, "b" at 8, "c" and the separator before it at 16; the delay is 4.
    speech = Speech([1, 2, 3, 4], [5, 9, 13, 20])
    found = sequences.asr(VOCABULARY, "en", speech, ALIGNED, 4, 0.25)
    assert read(found) == "<asr> <lang:en> #1 #2 a #3 b #4 _ c <text> <end>"
    assert found.weights == [0, 0, 0.25, 0.25, 1, 0.25, 1, 0.25, 1, 1, 0, 1]
    late = sequences.asr(VOCABULARY, "en", speech, ALIGNED, 5, 0.25)
    assert read(late) == "<asr> <lang:en> #1 #2 a #3 b #4 <text> _ c <end>"


def test_plain_sequences_keep_text_and_speech_apart():
    speech = Speech([1, 2], [5, 9])
    tts = sequences.plain_tts(VOCABULARY, "en", [7], ["ab", "c"], speech, 0.25)
    assert read(tts) == "<tts> <lang:en> #7 <text> a b _ c <say> #1 #2 <end>"
    assert tts.weights == [0, 0, 0.25, 0, 0, 0, 0, 0, 0, 1, 1, 1] and tts.n_frames == 9
    asr = sequences.asr(VOCABULARY, "en", speech, ALIGNED, None, 0.25)
    assert read(asr) == "<asr> <lang:en> #1 #2 <text> a b _ c <end>"
    s2st = sequences.s2st(VOCABULARY, "en", [3], "fr", speech, 0.25)
    assert read(s2st) == "<s2st> <lang:en> #3 <lang:fr> #1 #2 <end>"
    assert s2st.weights == [0, 0, 0.25, 0, 1, 1, 1]


def test_translation_and_continuation():
    mt = sequences.mt(VOCABULARY, "en", "a c", "fr", "d", 0.25)
    assert read(mt) == "<mt> <lang:en> a _ c <text> <lang:fr> d <end>"
    assert mt.weights == [0, 0, 0.25, 0.25, 0.25, 0, 0, 1, 1]
    assert mt.ids[: len(sequences.mt_prefix(VOCABULARY, "en", "a c", "fr"))] == mt.ids[:-2]
    going_on = sequences.continuation(VOCABULARY, "en", Speech([1, 2], [5, 9]))
    assert read(going_on) == "<continue> <lang:en> #1 #2 <end>" and going_on.weights == [0, 0, 1, 1, 1]


def test_a_text_without_words_is_refused():
    with pytest.raises(ValueError, match="one word at least"):
        sequences.tts_text(VOCABULARY, "en", [], [])
    with pytest.raises(ValueError, match="unknown language 'xx': the language model has en, fr"):
        sequences.tts_text(VOCABULARY, "xx", [], ["a"])


@pytest.mark.parametrize("interleaved", [True, False])
def test_batches_are_a_pure_function_of_seed_and_step(interleaved):
    config = replace(CONFIG, interleaved=interleaved)
    utterances = make_utterances(TOKENIZER)
    one, two = (LMBatches(utterances, VOCABULARY, config) for _ in range(2))
    for step in (40, 3, 17):
        one(step)
    for step in (3, 17, 40):
        assert all(torch.equal(a, b) for a, b in zip(one(step), two(step), strict=True))
    other = LMBatches(utterances, VOCABULARY, replace(config, seed=4))
    assert not torch.equal(one(3).ids, other(3).ids)


def test_batches_hold_a_fixed_number_of_ids_with_little_padding():
    made = LMBatches(make_utterances(TOKENIZER), VOCABULARY, replace(CONFIG, batch_ids=1000))
    drawn = [made(step) for step in range(16)]
    sizes = [batch.ids.numel() for batch in drawn]
    assert max(sizes) <= 1000 and min(sizes) >= 500 and sorted(sizes)[1] > 850, "one batch of a pool is the rest"
    n_real = sum(int((batch.ids != VOCABULARY.tag("pad")).sum()) for batch in drawn)
    assert n_real / sum(sizes) > 0.75  # lengths of this toy are short beside LENGTH_STEP
    assert all((batch.weights[batch.ids == VOCABULARY.tag("pad")] == 0).all() for batch in drawn)


def test_fill_leaves_out_only_what_fills_less_than_half_a_batch():
    drawn = [TaskSequence([1] * n, [0.0] * n, 0) for n in (16, 40, 3, 30, 16)]
    filled = batches.fill(drawn, 64)
    assert [[len(each.ids) for each in group] for group in filled] == [[40], [30, 16], [16, 3]], "half full will do"
    assert [[len(each.ids) for each in group] for group in batches.fill(drawn[:4], 64)] == [[40], [30, 16]]
    assert [len(group) for group in batches.fill(drawn[:1], 64)] == [1]
    assert batches.fill(drawn[1:2], 8) == [[drawn[1]]]  # longer than a batch: alone


def test_cuts_tile_at_word_bounds():
    utterance = make_utterances(TOKENIZER)[4]
    parts = [utterance.cut(first, 1) for first in range(len(utterance.words))]
    assert np.array_equal(np.concatenate([part.tokens for part in parts]), utterance.tokens)
    for part, spoken in zip(parts, utterance.spoken, strict=True):
        assert part.spoken == (spoken,)
        decoded = TOKENIZER.decode(torch.tensor(spoken.pieces))
        assert np.array_equal(decoded.numpy(), part.tokens)
        assert list(part.speech.pieces) == list(spoken.pieces) and part.speech.ends[-1] == part.n_frames
    middle = SequenceMaker(VOCABULARY, CONFIG).asr(utterance.cut(1, 2))
    assert VOCABULARY.decode_text(middle.ids) == " ".join(word.word for word in utterance.words[1:3])


def test_the_curriculum_ends():
    utterances = [u for u in make_utterances(TOKENIZER) if len(u.words) == 4]
    made = LMBatches(utterances, VOCABULARY, replace(CONFIG, task_shares={"tts": 1.0}, prompt_share=0.0))
    text, n_next = VOCABULARY.tag("text"), VOCABULARY.tag("next")

    def word_counts(step: int) -> set[int]:
        ids = made(step).ids
        return set(((ids == n_next).sum(1) / (ids == text).sum(1)).tolist())

    assert {1.0, 2.0, 4.0} <= set().union(*(word_counts(step) for step in range(16)))
    assert set().union(*(word_counts(step) for step in range(32, 40))) == {4.0}


def test_prompts_are_other_utterances_of_the_voice():
    utterances = make_utterances(TOKENIZER)
    target, others = utterances[0], [u for u in utterances if u.speaker == utterances[0].speaker]
    random = np.random.default_rng(0)
    for _ in range(20):
        pieces = batches.draw_prompt(target, others, 12, random)
        assert int(TOKENIZER.piece_lengths[pieces].sum()) <= 12
    assert batches.draw_prompt(target, [target], 12, random) == []


def test_tasks_that_cannot_be_made_are_refused():
    utterances = make_utterances(TOKENIZER)
    with pytest.raises(ValueError, match="unknown tasks song"):
        LMBatches(utterances, VOCABULARY, replace(CONFIG, task_shares={"song": 1.0}))
    with pytest.raises(ValueError, match="two languages"):
        LMBatches([u for u in utterances if u.language == "en"], VOCABULARY, CONFIG)


def test_translations_pair_recordings_of_one_name_and_no_parts():
    utterances = make_utterances(TOKENIZER)
    assert all(len({u.language for u in group}) == 2 and not any(u.pseudo for u in group)
               for group in data.translations(utterances))  # fmt: skip
    utterances[0].concept = utterances[10].concept = "demo.01"
    assert all(u.concept != "demo.01" for group in data.translations(utterances) for u in group)


@pytest.fixture(scope="module")
def aligned_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    store = make_store(folder / "store")
    spans = store.index["n_frames"].tolist()
    # Every token of the split train is below 4, every other one is not: a leak shows in the ids of a batch.
    held = store.index["split"].ne("train").repeat(store.index["n_frames"]).to_numpy()
    random = np.random.default_rng(0)
    save_tokens(folder / "tokens.npy", torch.from_numpy(random.integers(0, 4, sum(spans)) + 4 * held))
    words = {
        name: [AlignedWord("a", 0, 2, (2,)), AlignedWord("b", 2, n, (n,))]
        for name, n in zip(store.index["utterance"], spans, strict=True)
    }
    save(folder / "alignments.csv", words)
    return data.TokenisedSource(store, TokenTable(store, folder / "tokens.npy")), Alignments(folder)


def test_no_batch_holds_dev_or_test(aligned_store):
    source, alignments = aligned_store
    train = data.aligned_utterances([source], alignments, TOKENIZER, "train")
    assert {u.name for u in train} == set(source.store.index.query("split == 'train'")["utterance"])
    shares = {"tts": 0.4, "asr": 0.3, "continuation": 0.3}
    made = LMBatches(train, VOCABULARY, replace(CONFIG, task_shares=shares))
    for step in range(40):
        heard = TOKENIZER.decode(VOCABULARY.decode_pieces(made(step).ids.flatten().tolist()))
        assert len(heard) and int(heard.max()) < 4
    held = data.aligned_utterances([source], alignments, TOKENIZER, "test")
    assert all((u.tokens >= 4).all() for u in held)


def test_alignments_of_another_rendition_are_refused(aligned_store, tmp_path):
    source, _ = aligned_store
    save(tmp_path / "alignments.csv", {"toy/000": [AlignedWord("a", 0, 2, (2,))]})
    with pytest.raises(ValueError, match="toy/000: expected words that tile"):
        data.aligned_utterances([source], Alignments(tmp_path), TOKENIZER, "train")
    with pytest.raises(ValueError, match="split dev, got none"):
        data.aligned_utterances([source], Alignments(tmp_path), TOKENIZER, "dev")


def test_held_out_sequences_say_the_same_speech_to_other_words():
    dev, train = make_utterances(TOKENIZER, "dev"), make_utterances(TOKENIZER)
    found = check.held_out(dev, train, SequenceMaker(VOCABULARY, CONFIG), 0.2)
    assert len(found.right) == len(found.shuffled) == len(dev) and found.asr and found.mt
    for right, wrong in zip(found.right, found.shuffled, strict=True):
        assert VOCABULARY.decode_pieces(right.ids).tolist() == VOCABULARY.decode_pieces(wrong.ids).tolist()
        assert VOCABULARY.decode_text(right.ids) != VOCABULARY.decode_text(wrong.ids)
        assert sum(right.weights) == sum(wrong.weights) and set(right.weights) == {0.0, 1.0}


def test_misread_ids_are_read_and_the_right_ones_are_asked_for():
    random = np.random.default_rng(0)
    found = sequences.asr(VOCABULARY, "en", Speech([1, 2, 3, 4] * 5, list(range(1, 21))), ALIGNED, 4, 0.25)
    is_symbol = VOCABULARY.is_symbol(torch.tensor(found.ids))
    places = is_symbol.nonzero()[:, 0].tolist()
    symbols = {found.ids[place] for place in places}
    changed = 0
    for _ in range(40):
        spoilt = misread(found, is_symbol, 0.5, random)
        assert spoilt.ids == found.ids and spoilt.weights == found.weights
        others = [place for place, (one, two) in enumerate(zip(spoilt.read, found.ids, strict=True)) if one != two]
        assert set(others) <= set(places) and {spoilt.read[place] for place in places} <= symbols
        changed += len(others)
    assert 0.2 < changed / (40 * len(places)) < 0.5, "half are drawn, some of them for themselves"
    assert misread(found, is_symbol, 0.0, random).read == found.ids
    twice = misread(spoilt, ~is_symbol, 1.0, random)
    assert [twice.read[place] for place in places] == [spoilt.read[place] for place in places], "the first stays"
    assert twice.read != spoilt.read and twice.ids == found.ids


@pytest.mark.parametrize(("share", "tasks"), [("misspelt_share", {"asr", "mt"}), ("misheard_share", {"asr"})])
def test_only_what_is_read_in_use_is_misread_and_padding_is_alike(share: str, tasks: set[str]):
    utterances = make_utterances(TOKENIZER)
    config = replace(CONFIG, task_shares={"asr": 0.5, "mt": 0.2, "tts": 0.3})
    batches = LMBatches(utterances, VOCABULARY, replace(config, **{share: 0.9}))
    n_changed = dict.fromkeys(config.task_shares, 0)
    for step in range(12):
        ids, weights, read = batches(step)
        differs = ids != read
        kind = VOCABULARY.is_symbol(ids) if share == "misspelt_share" else ids >= VOCABULARY.first_piece
        assert not (differs & ~kind).any()
        for task in n_changed:
            n_changed[task] += int((differs & (ids[:, :1] == VOCABULARY.tag(task))).sum())
        assert torch.equal(batches(step).read, read)
    assert all(n > 20 if task in tasks else n == 0 for task, n in n_changed.items()), n_changed
    plain = LMBatches(utterances, VOCABULARY, config)
    assert all(torch.equal(plain(step).ids, plain(step).read) for step in range(4))
