"""Every clip is scored once, by the model named, and the batched models say what their packages say."""

import math
import sqlite3
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vectok import audio
from vectok.corpus.text import scoring_text
from vectok.evaluation import asr, models, naturalness, scoring, speaker
from vectok.evaluation.metrics import character_errors
from vectok.layout import SAMPLE


class Counting(models.Scorer):
    """Scores a clip by its length, and counts how often it is asked."""

    name = "distillmos"

    def __init__(self, version: str = "1", uses_language: bool = False) -> None:
        self.version, self.uses_language, self.seen = version, uses_language, []

    @property
    def model(self) -> str:
        return f"counting {self.version}"

    def score(self, clips: list[Tensor], languages: list[str]) -> list[float]:
        self.seen += [len(clip) for clip in clips]
        return [float(len(clip)) for clip in clips]


class Loud(Counting):
    """An embedding that is the clip's power above 6 kHz."""

    name = "embedding"

    def score(self, clips: list[Tensor], languages: list[str]) -> list[list[float]]:
        return [[float(torch.fft.rfft(clip).abs()[len(clip) * 6 // 16 :].square().mean())] for clip in clips]


def noise(n_samples: int, seed: int = 0) -> Tensor:
    """Half-loud noise, the same for the same seed."""
    return 0.3 * torch.randn(n_samples, generator=torch.Generator().manual_seed(seed)).clamp(-3, 3)


def request(clip: str, *wants: str, language: str = "en") -> scoring.Request:
    """A request; the clip's name is its length."""
    return scoring.Request(clip=clip, language=language, seconds=float(clip) / 16_000, wants=frozenset(wants))


@pytest.fixture
def cache(tmp_path):
    """An empty cache."""
    made = scoring.ScoreCache(tmp_path / "scores.sqlite")
    yield made
    made.close()


def run(requests, scorer, cache, **options):
    """Scores noise whose length is the clip's name."""
    return scoring.score_clips(requests, lambda name: noise(int(name)), {scorer.name: scorer}, cache, **options)


def test_a_second_run_asks_no_model(cache):
    requests = [request("4000", "distillmos"), request("5000", "distillmos")]
    first, again = Counting(), Counting()
    one, two = run(requests, first, cache), run(requests, again, cache)
    assert sorted(first.seen) == [4000, 5000] and again.seen == []
    assert one["distillmos"].tolist() == two["distillmos"].tolist() == [4000.0, 5000.0]


def test_another_version_is_another_model(cache):
    run([request("4000", "distillmos")], Counting("1"), cache)
    newer = Counting("2")
    run([request("4000", "distillmos")], newer, cache)
    assert newer.seen == [4000]


def test_equal_audio_is_scored_once_and_a_language_is_part_of_the_question(cache):
    plain, spoken = Counting(), Counting("spoken", uses_language=True)
    clips, languages = [noise(4000), noise(4000), noise(4000)], ["en", "en", "fr"]
    assert scoring._values(plain, clips, languages, cache) == [4000.0] * 3
    assert scoring._values(spoken, clips, languages, cache) == [4000.0] * 3
    assert plain.seen == [4000] and spoken.seen == [4000, 4000]


def test_a_killed_run_keeps_what_it_scored(tmp_path):
    path, scorer = tmp_path / "scores.sqlite", Counting()

    def killed(name: str) -> Tensor:
        if name == "9000":
            raise KeyboardInterrupt
        return noise(int(name))

    requests = [request(name, "distillmos") for name in ("4000", "5000", "9000")]
    with pytest.raises(KeyboardInterrupt):
        scoring.score_clips(requests, killed, {"distillmos": scorer}, scoring.ScoreCache(path), chunk_size=1)
    fresh, reopened = Counting(), scoring.ScoreCache(path)
    run(requests, fresh, reopened, chunk_size=1)
    assert fresh.seen == [9000] and reopened.n_hits == 2


def test_the_size_of_a_chunk_changes_nothing(tmp_path):
    requests = [request(str(3000 + 100 * i), "distillmos") for i in range(7)]
    tables = [run(requests, Counting(), scoring.ScoreCache(tmp_path / str(n)), chunk_size=n) for n in (1, 3, 32)]
    assert all(table.equals(tables[0]) for table in tables)


def test_only_what_is_wanted_is_scored(cache):
    found = run([request("4000", "distillmos"), request("5000")], Counting(), cache).set_index("clip")
    assert found.at["4000", "distillmos"] == 4000.0 and np.isnan(found.at["5000", "distillmos"])


def test_narrow_embeddings_are_of_the_narrow_copy(cache):
    found = run([request("16000", "embedding", "embedding_narrow")], Loud(), cache).iloc[0]
    assert found["embedding_narrow"][0] < 0.05 * found["embedding"][0]


def test_a_missing_model_is_named_and_not_replaced(cache):
    def absent() -> models.Scorer:
        raise models.ModelMissing("package x: install it")

    scorers, missing = scoring.available({"distillmos": absent, "dnsmos": Counting})
    assert list(scorers) == ["dnsmos"] and missing == {"distillmos": "not run: package x: install it"}
    found = scoring.score_clips([request("4000", "distillmos")], lambda _: noise(4000), scorers, cache)
    assert found["distillmos"].isna().all()


def test_a_missing_package_raises_before_anything_is_imported():
    with pytest.raises(models.ModelMissing, match="no_such_package"):
        models.package_file("no_such_package", "weights.pt")
    with pytest.raises(models.ModelMissing, match="missing"):
        models.package_file("numpy", "no-such-file")


@pytest.mark.parametrize("broken", [torch.zeros(0), torch.tensor([0.0, float("nan")]), torch.tensor([float("inf")])])
def test_broken_audio_is_refused(broken):
    with pytest.raises(ValueError, match="expected finite samples"):
        scoring.quantise(broken)


def test_hashes_are_of_sixteen_bits():
    samples = noise(1000)
    assert scoring.audio_hash(samples) == scoring.audio_hash(scoring.quantise(samples))
    assert scoring.audio_hash(samples) != scoring.audio_hash(samples + 1e-3)


def test_the_cache_is_a_plain_database(cache, tmp_path):
    cache.put("m", {"h": {"ovrl": 3.0}})
    assert cache.get("h", "m") == {"ovrl": 3.0} and cache.get("h", "other") is None
    rows = sqlite3.connect(tmp_path / "scores.sqlite").execute("SELECT * FROM scores").fetchall()
    assert rows == [("h", "m", '{"ovrl": 3.0}')]


def test_a_window_depends_on_the_clip_alone():
    window = asr.Transcriber.window_seconds
    reader = type("Reader", (), {"config": asr.AsrConfig(shortest_window_seconds=12.0, margin_seconds=3.0)})()
    seconds = [window(reader, n * 16_000) for n in (1, 9, 10, 13, 40)]
    assert seconds == [12.0, 12.0, 15.0, 18.0, 30.0]


def test_partials_cover_a_clip():
    assert speaker.partial_starts(100) == [0]
    starts = speaker.partial_starts(10 * 16_000)
    assert starts == list(range(0, starts[-1] + 1, 77))
    assert starts[-1] * 160 + 0.75 * 25_600 <= 160_000 <= (starts[-1] + 160 + 77) * 160


def test_tiling_repeats_short_clips_and_leaves_long_ones():
    short, long = noise(50_000), noise(200_000)
    tiled = naturalness.tile(short)
    assert len(tiled) == 144_160 and torch.equal(tiled[50_000:100_000], short)
    assert naturalness.tile(long) is long


SPEECH = sorted(Path(SAMPLE).glob("asterisk/en/*"))


def spoken(n_clips: int) -> list[Tensor]:
    """Recordings of the committed sample, the longest first."""
    clips = [audio.read(path) for path in SPEECH if path.suffix in {".g722", ".flac", ".ogg", ".wav"}]
    return sorted(clips, key=len, reverse=True)[:n_clips]


@pytest.mark.slow
def test_batched_embeddings_are_resemblyzers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from resemblyzer import VoiceEncoder, preprocess_wav

        encoder = VoiceEncoder("cpu", verbose=False)
        clips = spoken(6)
        theirs = np.stack([encoder.embed_utterance(preprocess_wav(clip.numpy())) for clip in clips])
    ours = speaker.SpeakerEncoder().embed(clips).numpy()
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.slow
def test_shortened_distillmos_is_the_packages(capsys):
    import distillmos

    network, clips = distillmos.ConvTransformerSQAModel().eval(), [*spoken(4), noise(122_880)]
    long = noise(150_000)
    with torch.inference_mode():
        theirs = [float(network(clip[None])) for clip in clips]
        theirs.append(np.mean([float(network(long[None, start : start + 122_880])) for start in (0, 27_120)]))
    assert np.abs(np.array(naturalness.DistillMos().score([*clips, long], ["en"] * 6)) - theirs).max() < 1e-3


@pytest.mark.parametrize("n_samples", [1, 9, 10, 11, 20, 21, 199, 200])
def test_windows_hold_all_of_a_clip_and_are_as_few_as_can_be(n_samples):
    clip = torch.arange(float(n_samples))
    found = naturalness.covering_windows(clip, 10)
    assert len(found) == max(1, math.ceil(n_samples / 10))
    assert {len(window) for window in found} == {min(n_samples, 10)}
    assert torch.cat(found).unique().tolist() == clip.tolist()


@pytest.mark.slow
def test_a_long_clips_dnsmos_is_the_mean_over_its_windows():
    scorer, long = naturalness.Dnsmos(), noise(200_000).clamp(-1, 1)
    whole, *halves = scorer.score([long, long[:144_160], long[-144_160:]], ["en"] * 3)
    assert whole == {name: pytest.approx((halves[0][name] + halves[1][name]) / 2, abs=1e-4) for name in whole}


@pytest.mark.slow
def test_dnsmos_is_the_packages_where_one_window_is_all_it_takes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from speechmos import dnsmos

        clips = [spoken(1)[0].repeat(5)[:75_000].clamp(-1, 1), noise(144_160).clamp(-1, 1)]
        theirs = [dnsmos.run(clip.numpy(), 16_000) for clip in clips]
    for ours, row in zip(naturalness.Dnsmos().score(clips, ["en"] * 2), theirs, strict=True):
        found = np.array([ours[name] for name in ("sig", "bak", "ovrl", "p808")])
        assert np.abs(found - [row[f"{name}_mos"] for name in ("sig", "bak", "ovrl", "p808")]).max() < 1e-3


@pytest.mark.slow
def test_log_mel_is_faster_whispers():
    from faster_whisper.feature_extractor import FeatureExtractor

    extractor, samples = FeatureExtractor(), np.pad(spoken(1)[0].numpy(), (0, 16_000))
    ours = asr.log_mel(samples, extractor.mel_filters)
    theirs = extractor(samples, padding=0)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 1e-3


@pytest.fixture
def three_threads():
    """Tests run on one thread, where a number that is changed and not given back would not be seen."""
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(usual)


@pytest.mark.usefixtures("three_threads")
def test_work_side_by_side_has_one_thread_each_and_gives_them_back():
    before = torch.get_num_threads()
    assert before == 3
    found = models.side_by_side(lambda n: (n, torch.get_num_threads(), threading.get_ident()), range(40))
    assert [n for n, *_ in found] == list(range(40)) and {n_threads for _, n_threads, _ in found} == {1}
    assert len({ident for *_, ident in found}) <= models.N_THREADS and torch.get_num_threads() == before
    with pytest.raises(ValueError, match="broken"):
        models.side_by_side(lambda n: int("broken"), range(3))
    assert torch.get_num_threads() == before


def test_clips_read_side_by_side_come_back_in_their_order_each_in_its_own_window(monkeypatch):
    seen = []

    def read(self, features, language):
        time.sleep(0.02 * (len(seen) % 2 == 0))  # the first of two ends last
        seen.append(features.shape)
        return f"{language} {features.shape[2]}"

    monkeypatch.setattr(asr.Transcriber, "_read", read)
    reader = asr.Transcriber.__new__(asr.Transcriber)
    reader.config, reader._filters = asr.AsrConfig(), np.ones((80, 201), dtype=np.float32)
    clips = [torch.zeros(round(16_000 * seconds)) for seconds in (1, 25, 9, 9.1, 31, 2)]
    found = reader.transcribe(clips, ["en", "es", "fr", "it", "ru", "en"])
    assert found == ["en 1200", "es 3000", "fr 1200", "it 1500", "ru 3000", "en 1200"]
    assert {shape[:2] for shape in seen} == {(1, 80)}
    with pytest.raises(ValueError, match="one language a clip"):
        reader.transcribe(clips, ["en"])


@pytest.mark.slow
def test_shortened_windows_read_what_thirty_seconds_read():
    clips, config = spoken(6), asr.AsrConfig()
    found = asr.agreement(config, clips, ["en"] * 6)
    assert found.length > 60 and found.errors <= 0.03 * found.length


@pytest.mark.slow
def test_transcripts_come_in_the_order_of_the_clips_and_refuse_unknown_languages():
    reader, clips = asr.Transcriber(asr.AsrConfig()), spoken(3)
    together = reader.transcribe([clips[2], clips[0], clips[1]], ["en"] * 3)
    alone = [reader.transcribe([clip], ["en"])[0] for clip in (clips[2], clips[0], clips[1])]
    errors = [
        character_errors(scoring_text(a, "en"), scoring_text(b, "en")) for a, b in zip(alone, together, strict=True)
    ]
    assert sum(e.errors for e in errors) <= 0.03 * sum(e.length for e in errors)
    with pytest.raises(ValueError, match="no language 'xx'"):
        reader.transcribe(clips[:1], ["xx"])
    with pytest.raises(ValueError, match="one language a clip"):
        reader.transcribe(clips, ["en"])


@pytest.mark.slow
def test_the_asr_leaves_torch_its_threads():
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        asr.Transcriber(asr.AsrConfig())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
