"""The tasks over the language models, their command line and what they refuse, on a system of tiny random parts."""

import dataclasses

import pytest
import torch

import vectok
from tests.tiny_language import N_PIECES, make_all, make_language_parts, make_vocabulary
from tests.tiny_system import ToyEncoder, speech
from vectok import audio, cli, language, language_checks, release
from vectok.clvp.ranking import text_scores
from vectok.language_items import Candidate, Line, TaskConfig, rank_of
from vectok.language_tasks import LanguageTasks
from vectok.lm import writing
from vectok.lm.model import LanguageModel


@pytest.fixture(autouse=True)
def toy_encoder(monkeypatch):
    monkeypatch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_all(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def system(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vectok.features.load_encoder", lambda name, device="cpu": ToyEncoder())
        return language.load_language_parts(*folders)


@pytest.fixture(scope="module")
def packed(folders, tmp_path_factory):
    """The tiny system as a release."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "parts_of_profile", lambda profile: folders[0])
        patch.setattr(release, "language_parts_of_profile", lambda profile: folders[1])
        patch.setattr(release, "_metrics", lambda profile: {})
        return release.pack("embedded", tmp_path_factory.mktemp("release") / "vectok-embedded")


@pytest.fixture
def files(tmp_path):
    """Recordings of a voice, and of what no voice is."""
    prompts = {
        "voice": speech(40_000, 5), "silence": torch.zeros(32_000), "short": speech(1_600, 1),
        "noise": 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(1)), "long": speech(500_000, 2),
    }  # fmt: skip
    for name, samples in prompts.items():
        audio.write(tmp_path / f"{name}.wav", samples)
    return tmp_path


def test_say_is_repeatable_and_depends_on_seed_and_style(system):
    voice = speech(40_000, 5)
    said = system.say("press one", "en", voice, n_candidates=3)
    again = system.say("press one", "en", voice, n_candidates=3)
    assert torch.equal(said.audio, again.audio) and said.text == "press one"
    assert len(said.audio) == 320 * len(system.tasks.tokenizer.decode(said.pieces))
    assert torch.isfinite(said.audio).all() and -1 <= said.score <= 1
    other = system.say("press one", "en", voice, n_candidates=3, seed=1)
    styled = system.say("press one", "en", voice, style=speech(40_000, 9), n_candidates=3)
    assert not torch.equal(said.pieces, other.pieces) and not torch.equal(said.pieces, styled.pieces)


def test_style_comes_from_one_recording_and_timbre_from_another(system):
    style = speech(40_000, 9)
    one, two = (system.say("press one", "en", speech(40_000, s), style=style, n_candidates=2) for s in (5, 6))
    assert torch.equal(one.pieces, two.pieces) and not torch.equal(one.audio, two.audio)


def test_candidates_are_ranked_by_likelihood_and_clvp(system):
    words = ["press", "one"]
    drawn = system.tasks._draw([system.tasks._request(Line("say 0", "press one", "en", ()), words, 6)], 0)[0]
    candidates = system.tasks.speak([Line("say 0", "press one", "en", ())], 6, 0)[0]
    assert [list(one.pieces) for one in candidates] == [one.pieces for one in drawn]
    scores = text_scores(system.tasks.clvp, [words], [[one.pieces_by_word for one in drawn]])[0]
    assert [one.score for one in candidates] == pytest.approx(scores)
    expected = [one.logprob / one.n_drawn + score for one, score in zip(drawn, scores, strict=True)]
    assert [one.rank for one in candidates] == pytest.approx(expected) and len(set(expected)) > 1


def test_what_no_text_is_compared_with_is_ranked_by_likelihood():
    assert rank_of(-1.0, float("nan")) == -1.0 and rank_of(-1.0, 0.25) == -0.75


def test_plain_candidates_are_compared_with_the_whole_text(system, monkeypatch):
    tasks, compared = system.tasks, []
    plain = LanguageModel(dataclasses.replace(tasks.lm.config, interleaved=False), tasks.lm.vocabulary).eval()
    monkeypatch.setattr(
        "vectok.language_tasks.text_scores",
        lambda clvp, texts, candidates: (
            compared.append((texts, candidates)) or [[0.0] * len(own) for own in candidates]
        ),
    )
    spoken = LanguageTasks(plain, tasks.clvp, tasks.tokenizer, TaskConfig(max_pieces=5))
    said = spoken.speak([Line("say 0", "press one", "en", (1, 2))], 2, 0)[0]
    (texts, candidates) = compared[0]
    assert texts == [["press one"]] and [len(own) for own in candidates[0]] == [1, 1]
    assert [tuple(own[0]) for own in candidates[0]] == [one.pieces for one in said]


def test_a_line_is_said_alike_alone_and_in_company(system):
    lines = [Line(f"k{n}", word, "en", (1, 2)) for n, word in enumerate(("one", "press two", "no"))]
    together = system.tasks.speak(lines, 3, 0)
    for line, own in zip(lines, together, strict=True):
        assert [one.pieces for one in system.tasks.speak([line], 3, 0)[0]] == [one.pieces for one in own]


def test_long_texts_are_said_line_by_line(system):
    text = "one two three. four five, " + "six " * 20
    lines = system.tasks.lines(text, "en", 12)
    assert lines[0] == ["one", "two", "three", "four", "five"] and max(map(len, lines)) <= 12
    assert [word for line in lines for word in line] == system.tasks.words(text, "en")


def test_continue_goes_on_where_the_recording_ends(system):
    spoken = system.continue_speech(speech(32_000, 5), "en", seconds=0.5, n_candidates=2)
    assert 0 < len(spoken.audio) <= 8_000 and torch.isfinite(spoken.audio).all()


def test_a_continuation_lasts_as_long_as_is_asked_where_one_candidate_does(system, monkeypatch):
    ends_soon, unlikely, likely = (
        Candidate(pieces, logprob, 0.0, True, "")
        for pieces, logprob in (((1,), -0.1), (tuple([1, 2] * 40), -3.0), (tuple([2, 1] * 60), -2.0))
    )
    monkeypatch.setattr(system.tasks, "carry_on", lambda *given: [[ends_soon, unlikely, likely]])
    spoken = system.continue_speech(speech(32_000, 5), "en", seconds=0.5)
    assert len(spoken.audio) == 8_000 and spoken.pieces.tolist() == list(likely.pieces)
    monkeypatch.setattr(system.tasks, "carry_on", lambda *given: [[ends_soon]])
    assert 0 < len(system.continue_speech(speech(32_000, 5), "en", seconds=0.5).audio) < 8_000


def test_transcribe_gives_text_of_known_symbols(system):
    text = system.transcribe(speech(16_000, 5), "en")
    assert set(text) <= set(system.tasks.lm.vocabulary.symbols)


def test_what_is_heard_several_times_is_read_once(system, monkeypatch):
    read = []

    def transcribe(model, heard, config, interleaved):
        read.extend(heard)
        return [writing.Written(f" {each.language} {each.pieces} ", True) for each in heard]

    monkeypatch.setattr(writing, "transcribe", transcribe)
    found = system.tasks.transcribe([[1, 2], [4], (1, 2), [1, 2]], ["en", "es", "en", "es"])
    assert found == ["en (1, 2)", "es (4,)", "en (1, 2)", "es (1, 2)"] and len(read) == len(set(read)) == 3


def test_translate_says_what_the_model_wrote(system, monkeypatch):
    monkeypatch.setattr(system.tasks, "translate_texts", lambda texts, sources, targets: ["hola"] * len(texts))
    spoken = system.translate(speech(16_000, 5), "en", "es", voice=speech(40_000, 6), n_candidates=2)
    assert spoken.text == "hola" and len(spoken.audio)


def test_a_translation_without_words_is_an_error(system, monkeypatch):
    monkeypatch.setattr(system.tasks, "translate_texts", lambda texts, sources, targets: [""] * len(texts))
    with pytest.raises(ValueError, match="said nothing"):
        system.translate(speech(20_000, 5), "en", "es", n_candidates=2)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "en", "empty text"),
        ("...", "en", "empty text"),
        ("a" * 10_000, "en", "2000 characters at most, got 10000"),
        ("press один", "en", "CYRILLIC"),
        ("press \U0001f600", "en", "GRINNING FACE"),
        ("hallo", "de", "unknown language 'de': the language model has en, es"),
        ("ciao", "it", "unknown language 'it'"),
    ],
)
def test_texts_that_cannot_be_said(system, text, code, message):
    with pytest.raises(ValueError, match=message):
        system.say(text, code, speech(40_000, 5))


@pytest.mark.parametrize(
    ("name", "message"),
    [("silence", "silence"), ("noise", "as steady as noise"), ("short", "got 0.1 s"), ("long", "got 31.2 s: cut it")],
)
def test_prompts_that_are_no_voice_end_the_command(packed, files, capsys, name, message):
    arguments = ["--language", "en", "-o", str(files / "out.wav"), "--model", str(packed), "--candidates", "2"]
    prompt = str(files / f"{name}.wav")
    assert cli.main(["say", "one", "--voice", prompt, *arguments]) == 1
    voice = ["--voice", str(files / "voice.wav"), "--style", prompt]
    assert cli.main(["say", "one", *voice, *arguments]) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2 and all(message in line and line.startswith("error: ") for line in errors)
    assert not (files / "out.wav").exists()


def test_the_level_of_noise_is_steady_and_that_of_speech_is_not():
    noise = torch.randn(32_000, generator=torch.Generator().manual_seed(1))
    assert language_checks.level_deviation(noise) < 1 < 6 < language_checks.level_deviation(speech(32_000, 5))
    with pytest.raises(ValueError, match="600 s: cut it"):
        language_checks.check_prompt(torch.zeros(9_600_000), "p")


def test_the_verbs_of_the_command(packed, files, capsys):
    voice, out = str(files / "voice.wav"), files / "out" / "said.wav"
    common = ["--model", str(packed)]
    assert cli.main(["say", "Press 1!", "--language", "en", "--voice", voice, "-o", str(out), *common]) == 0
    assert "press one" in capsys.readouterr().err and len(audio.read(out))
    going = [
        "continue",
        voice,
        "--language",
        "en",
        "--seconds",
        "0.4",
        "-o",
        str(files / "on.flac"),
        "--candidates",
        "1",
    ]
    assert cli.main([*going, *common]) == 0 and len(audio.read(files / "on.flac")) <= 6_400
    assert cli.main(["transcribe", voice, "--language", "en", *common]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert cli.main(["transcribe", voice, str(files / "silence.wav"), "--language", "es", *common]) == 1
    found = capsys.readouterr()
    assert voice in found.out and "silence.wav: expected speech, got silence" in found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["say", "", "--language", "en", "--voice", "voice.wav"], "empty text"),
        (["say", "hi", "--language", "de", "--voice", "voice.wav"], "unknown language 'de'"),
        (["say", "hi", "--language", "en", "--voice", "absent.wav"], "absent.wav"),
        (["translate", "voice.wav", "--from", "en", "--to", "en"], "expected two languages"),
        (["translate", "voice.wav", "--from", "en", "--to", "ru"], "unknown language 'ru'"),
        (["continue", "voice.wav", "--language", "en", "--seconds", "100"], "at most 20 s"),
        (["continue", "short.wav", "--language", "en"], "got 0.1 s"),
    ],
)
def test_bad_input_is_one_line_and_no_file(packed, files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    assert cli.main([*arguments, "-o", "out.wav", "--model", str(packed)]) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and message in errors[0]
    assert not (files / "out.wav").exists()


def test_models_of_other_codebooks_or_vocabularies_are_refused(folders, tmp_path):
    parts, known = folders[0], make_vocabulary(folders[0])
    for name, message in (("codebook_hash", "expected the codebook of hash"), ("bpe_hash", "expected the BPE model")):
        other = make_language_parts(tmp_path / name, parts, dataclasses.replace(known, **{name: "f" * 64}))
        with pytest.raises(ValueError, match=f"{message} {'f' * 64 if name == 'codebook_hash' else ''}"):
            language.load_language_parts(parts, other)
    other = make_language_parts(tmp_path / "languages", parts, make_vocabulary(parts, ("en",)))
    with pytest.raises(ValueError, match=f"{known.content_hash}.*|.*{known.content_hash}"):
        language.load_language_parts(parts, folders[1]._replace(clvp=other.clvp))


def test_the_language_model_reads_and_says_pieces_of_its_own(system):
    tokens = system.codec.encode(speech(40_000, 5)).tokens
    own = system.tasks.tokenizer
    assert own.n_vocab == N_PIECES != system.codec.tokenizer.n_vocab
    assert system._pieces(speech(40_000, 5)) == tuple(own.encode(tokens).tolist())
    assert system._pieces(speech(40_000, 5)) != tuple(system.codec.tokenizer.encode(tokens).tolist())
    spoken = system.say("one", "en", speech(40_000, 5), n_candidates=2)
    assert len(spoken.audio) == 320 * len(own.decode(spoken.pieces)), "its pieces are said in its own lengths"


def test_a_model_without_the_task_says_so(folders, tmp_path):
    parts = folders[0]
    mute = make_language_parts(tmp_path, parts, make_vocabulary(parts), tasks=("asr",))
    with pytest.raises(ValueError, match="was not trained for tts, only for asr"):
        language.load_language_parts(parts, mute).say("one", "en", speech(40_000, 5))


def test_a_release_holds_the_language_models(packed, system):
    loaded = language.load_language(packed)
    voice = speech(40_000, 5)
    assert torch.equal(loaded.say("one", "en", voice).audio, system.say("one", "en", voice).audio)
    card = (packed / "README.md").read_text()
    assert "lm/" in card and "clvp/" in card and "load_language" in card
    assert (packed / "lm" / "vocabulary.json").is_file() and LanguageModel.load(packed / "lm").config.tasks


def test_a_release_without_language_models_says_so(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "parts_of_profile", lambda profile: folders[0])
    monkeypatch.setattr(release, "_metrics", lambda profile: {})
    monkeypatch.setattr("vectok.parts.stage_folder", lambda profile, stage: tmp_path / "nothing" / stage)
    folder = release.pack("embedded", tmp_path / "release")
    assert vectok.load(folder) and not (folder / "lm").exists()
    with pytest.raises(ValueError, match="packed without lm and clvp"):
        language.load_language(folder)
    with pytest.raises(ValueError, match="lacks what the stages lm, clvp make"):
        release.language_parts_of_profile("embedded")
