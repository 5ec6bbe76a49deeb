"""Manifests and layouts: corpora of every layout built from the sample, and what bad recordings do to them."""

import shutil
import time

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from vectok import audio
from vectok.corpus import build
from vectok.corpus.asterisk import read_asterisk
from vectok.corpus.drascula import read_drascula
from vectok.corpus.entries import Entry
from vectok.corpus.layouts import read_layout
from vectok.corpus.manifest import COLUMNS, measure, read_manifest, read_utterance, validate, write_manifest
from vectok.corpus.pauses import cut_at_pauses
from vectok.corpus.sources import Finder
from vectok.layout import SAMPLE

PROMPTS = sorted((SAMPLE / "asterisk" / "en").glob("*.g722"))[:4]


def flac(target, source=PROMPTS[0]) -> None:
    audio.write(target, audio.read(source))


def tiny_manifest(tmp_path) -> pd.DataFrame:
    """Two prompts of the sample in a manifest that lies in ``tmp_path``."""
    entries = read_asterisk(SAMPLE / "asterisk")[:2]
    return measure(entries, tmp_path, 30.0).rows.assign(split="train", group="g")


def test_sample_is_a_corpus(tmp_path):
    entries, problems = build.gather(["sample"], tmp_path, Finder(tmp_path / "downloads", {}))
    assert problems == []
    assert {entry.language for entry in entries} == {"en", "es", "fr", "it", "ru"}
    assert all(entry.text for entry in entries)
    assert all(entry.path.is_relative_to(tmp_path) for entry in entries)


def test_manifest_round_trip(tmp_path):
    table = tiny_manifest(tmp_path)
    write_manifest(table, tmp_path)
    again = read_manifest(tmp_path)
    assert tuple(again.columns) == COLUMNS
    assert again["utterance"].tolist() == table["utterance"].tolist()
    sound = read_utterance(tmp_path, again.iloc[0])
    assert len(sound) == round(again["seconds"][0] * 16_000)
    assert not list(tmp_path.glob(".*partial"))
    with pytest.raises(ValueError, match="no manifest in"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("utterance", "asterisk/en/conf-noempty", "two utterances"),
        ("speaker", "", "speaker is empty"),
        ("language", "xx", "language is none of"),
        ("split", "holdout", "split is none of"),
        ("seconds", 0.0, "seconds is not above 0"),
        ("end_seconds", 99.0, "end_seconds - start_seconds"),
        ("bandwidth_hz", 9_000, "bandwidth_hz"),
        ("text", "Press 1", "text is not normalised"),
        ("split", "test", "its group also stands in another split"),
    ],
)
def test_validation_names_the_fault_and_the_utterance(tmp_path, column, value, says):
    table = tiny_manifest(tmp_path)
    validate(table)
    rows = [1] if column != "utterance" else [0, 1]
    table.loc[rows, column] = value
    with pytest.raises(ValueError, match=says) as error:
        validate(table)
    assert "asterisk/en/" in str(error.value)


def test_missing_columns_are_named(tmp_path):
    with pytest.raises(ValueError, match="columns text are missing"):
        validate(tiny_manifest(tmp_path).drop(columns="text"))


def test_bad_recordings_are_named_and_the_rest_goes_on(tmp_path):
    second = (0.3 * torch.sin(torch.arange(16_000) * 0.1)).numpy()
    soundfile.write(tmp_path / "good.wav", second, 16_000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([second, second], 1), 48_000)
    soundfile.write(tmp_path / "clipped.wav", np.clip(second * 20, -1, 1), 16_000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "nan.wav", second * np.nan, 16_000, "FLOAT")
    soundfile.write(tmp_path / "short.wav", second[:100], 16_000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no audio " * 99)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:9_000])
    names = [*sorted(path.stem for path in tmp_path.glob("*.wav")), "gone"]
    common = {"corpus": "c", "language": "en", "speaker": "c-a"}
    entries = [Entry(name=name, path=tmp_path / f"{name}.wav", text=f"text {name}", **common) for name in names]
    entries.append(Entry(name="strange", path=tmp_path / "good.wav", **{**common, "language": "xx"}))
    rows, problems = measure(entries, tmp_path, 30.0)
    assert rows["utterance"].tolist() == ["c/en/clipped", "c/en/good", "c/en/stereo"]
    assert rows["bandwidth_hz"].tolist() == [8_000] * 3
    named = {problem.split(":")[0] for problem in problems}
    assert named == {f"c/en/{name}" for name in names if name not in {"good", "stereo"}} | {"c/xx/strange"}
    assert not any("\n" in problem or str(tmp_path) in problem for problem in problems)


def test_missing_texts_are_named_once_or_for_the_whole_corpus(tmp_path):
    flac(tmp_path / "a.flac")
    common = {"corpus": "c", "speaker": "c-a", "path": tmp_path / "a.flac"}
    some = [Entry(name="a", language="en", text="a", **common), Entry(name="b", language="en", **common)]
    none = [Entry(name=name, language="fr", **common) for name in "ab"]
    rows, problems = measure(some + none, tmp_path, 30.0)
    assert len(rows) == 4
    assert [problem.split(":")[0] for problem in problems] == ["c/en/b", "c/fr"]
    assert rows["plain"].tolist() == [True, False, True, True]


def test_nothing_usable_and_double_names_are_errors(tmp_path):
    entry = Entry(corpus="c", language="en", name="a", speaker="c-a", path=tmp_path / "a.wav")
    with pytest.raises(ValueError, match="no utterance can be used: c/en/a: left out"):
        measure([entry], tmp_path, 30.0)
    soundfile.write(tmp_path / "a.wav", np.ones(16_000) / 2, 16_000)
    with pytest.raises(ValueError, match="c/en/a appears twice"):
        measure([entry, entry], tmp_path, 30.0)


def test_eight_khz_is_tagged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(8_000) * 0.3), 8_000)
    entry = Entry(corpus="c", language="en", name="a", speaker="c-a", path=tmp_path / "a.wav")
    assert measure([entry], tmp_path, 30.0).rows["bandwidth_hz"].tolist() == [4_000]


def test_long_recordings_are_cut_in_their_pauses(tmp_path):
    talk = torch.randn(16_000 * 3) * 0.1
    signal = torch.cat([talk, torch.zeros(8_000), talk, torch.zeros(16_000), talk])
    pieces = cut_at_pauses(signal, 4.0)
    assert len(pieces) == 3
    assert 3.0 <= pieces[0][1] <= 3.5
    assert 6.5 <= pieces[1][1] <= 7.5
    assert pieces[0][0] == 0.0 and pieces[-1][1] == 10.5
    assert all(first[1] == second[0] for first, second in zip(pieces, pieces[1:], strict=False))
    audio.write(tmp_path / "a.wav", signal)
    entry = Entry(corpus="c", language="en", name="a", speaker="c-a", path=tmp_path / "a.wav", text="some words")
    rows = measure([entry], tmp_path, 4.0).rows
    assert rows["utterance"].tolist() == ["c/en/a.01", "c/en/a.02", "c/en/a.03"]
    assert rows["text"].tolist() == ["", "", ""]
    joined = torch.cat([read_utterance(tmp_path, row) for _, row in rows.iterrows()])
    assert torch.equal(joined, audio.read(tmp_path / "a.wav"))


@pytest.mark.parametrize("length", [1.0, 9.99, 30.01])
def test_pieces_never_exceed_the_limit_and_cover_everything(length):
    signal = torch.randn(int(16_000 * length)) * 0.1
    pieces = cut_at_pauses(signal, 5.0)
    assert max(end - start for start, end in pieces) <= 5.0
    assert pieces[0][0] == 0.0 and abs(pieces[-1][1] - length) <= 0.02


def librispeech(folder, with_texts: bool) -> None:
    for speaker in ("19", "84"):
        chapter = folder / "test-clean" / speaker / "7"
        for number, prompt in enumerate(PROMPTS[:2]):
            flac(chapter / f"{speaker}-7-{number:04d}.flac", prompt)
        if with_texts:
            lines = "".join(f"{speaker}-7-{number:04d} SOME WORDS {number}\n" for number in range(2))
            (chapter / f"{speaker}-7.trans.txt").write_text(lines)


@pytest.mark.parametrize("with_texts", [True, False])
def test_librispeech(tmp_path, with_texts):
    librispeech(tmp_path / "LibriSpeech", with_texts)
    entries = read_layout("librispeech", "en", tmp_path / "LibriSpeech")
    assert [entry.utterance for entry in entries] == [
        f"librispeech/en/{speaker}-7-000{number}" for speaker in ("19", "84") for number in (0, 1)
    ]
    assert {entry.speaker for entry in entries} == {"librispeech-19", "librispeech-84"}
    assert {entry.split for entry in entries} == {"test"}
    assert entries[0].text == ("SOME WORDS 0" if with_texts else "")
    rows = measure(entries, tmp_path, 30.0).rows
    assert rows["text"][0] == ("some words zero" if with_texts else "")
    assert rows["path"][0] == "LibriSpeech/test-clean/19/7/19-7-0000.flac"


def test_libritts(tmp_path):
    folder = tmp_path / "LibriTTS" / "train-clean-100" / "19" / "7"
    audio.write(folder / "19_7_000000_000001.wav", audio.read(PROMPTS[0]))
    (folder / "19_7_000000_000001.normalized.txt").write_text("Some words.\n")
    (folder / "19_7_000000_000001.original.txt").write_text("Some words\n")
    (entry,) = read_layout("libritts", "en", tmp_path / "LibriTTS")
    assert (entry.utterance, entry.speaker) == ("libritts/en/19_7_000000_000001", "libritts-19")
    assert (entry.text, entry.split) == ("Some words.", "")


def test_vctk(tmp_path):
    for name in ("p225_001_mic1", "p225_001_mic2"):
        flac(tmp_path / "wav48_silence_trimmed" / "p225" / f"{name}.flac")
    (tmp_path / "txt" / "p225").mkdir(parents=True)
    (tmp_path / "txt" / "p225" / "p225_001.txt").write_text("Please call Stella.\n")
    (entry,) = read_layout("vctk", "en", tmp_path)
    assert (entry.utterance, entry.speaker, entry.text) == ("vctk/en/p225_001", "vctk-p225", "Please call Stella.")


def test_csv(tmp_path):
    flac(tmp_path / "clips" / "a.flac")
    path = tmp_path / "mine.csv"
    path.write_text("path,speaker,language,text\nclips/a.flac,anna,fr,Bonjour 2\n")
    (entry,) = read_layout("csv", "en", path)
    assert (entry.utterance, entry.speaker, entry.licence) == ("mine/fr/clips/a", "mine-anna", "unknown")
    assert measure([entry], tmp_path, 30.0).rows["text"].tolist() == ["bonjour deux"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("path,speaker\na,b\n", "columns language are missing"),
        ("path,speaker,language,mood\na,b,en,glad\n", "unknown columns mood"),
        ("path,speaker,language\n,b,en\n", "line 2: path and speaker must not be empty"),
        ("path,speaker,language\n", "holds no recording"),
    ],
)
def test_bad_csv(tmp_path, content, says):
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(ValueError, match=says):
        read_layout("csv", "en", tmp_path / "mine.csv")


def test_unknown_layouts_folders_and_sources(tmp_path):
    with pytest.raises(ValueError, match="unknown layout 'mp3s'"):
        read_layout("mp3s", "en", tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        read_layout("vctk", "en", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no recording in the layout of vctk"):
        read_layout("vctk", "en", tmp_path)
    with pytest.raises(ValueError, match="unknown source 'radio'"):
        build.gather(["radio"], tmp_path, Finder(tmp_path, {}))
    with pytest.raises(ValueError, match="found none"):
        read_asterisk(tmp_path)


def test_a_folder_by_parameter_stays_where_it_is(tmp_path):
    librispeech(tmp_path / "LibriSpeech", with_texts=False)
    entries, _ = build.gather([f"librispeech:en:{tmp_path / 'LibriSpeech'}"], tmp_path / "out", Finder(tmp_path, {}))
    assert len(entries) == 4
    assert entries[0].path.is_relative_to(tmp_path / "LibriSpeech")


def test_sources_side_by_side_come_in_the_order_in_which_they_are_named(tmp_path, monkeypatch):
    reads = {"asterisk": 0.1, "drascula": 0.0, "kde": 0.05}  # seconds that each takes

    def read(folder):
        time.sleep(reads[folder.name])
        return [f"{folder.name} {n}" for n in range(2)]

    monkeypatch.setattr(build, "READERS", dict.fromkeys(reads, read))
    monkeypatch.setattr(build, "fetch_corpus", lambda source, into, finder: [f"{source}: a problem"])
    gathered = build.gather(list(reads), tmp_path, Finder(tmp_path / "downloads", {}))
    assert gathered.entries == [f"{name} {n}" for name in reads for n in range(2)]
    assert gathered.problems == [f"{name}: a problem" for name in reads]


def test_drascula(tmp_path):
    for name, content in (("en/12", 1), ("en/VB1", 2), ("en/S1", 3), ("en/B6", 4), ("es/VB1", 5), ("es/B6", 4)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.als").write_bytes(bytes([content]) * 11_025)
    entries = read_drascula(tmp_path)
    assert [entry.utterance for entry in entries] == [
        "drascula/en/12",
        "drascula/en/B6",
        "drascula/en/VB1",
        "drascula/es/VB1",
    ]
    assert [entry.speaker for entry in entries][::3] == ["drascula-en-john_hacker", "drascula-es-von_braun"]
    assert {entry.bandwidth_hz for entry in entries} == {5_512}
    shutil.rmtree(tmp_path / "en")
    shutil.rmtree(tmp_path / "es")
    with pytest.raises(ValueError, match="found none"):
        read_drascula(tmp_path)
