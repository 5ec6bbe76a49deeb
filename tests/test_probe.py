"""The layer probe finds what was put in, and nothing where nothing is."""

import pandas as pd
import pytest
import torch

from vectok.probe import (
    Spoken,
    acoustic_r2,
    choose_for_content,
    choose_for_speakers,
    content_agreement,
    probe_layers,
    speaker_accuracy,
)


@pytest.fixture
def spoken():
    """Layer 0: sounds and a speaker's mean and spread; layer 1: noise."""
    generator = torch.Generator().manual_seed(0)
    sounds = 4 * torch.randn(12, 8, generator=generator)
    made = Spoken([], [], [], [], [])
    for number in range(24):
        speaker, walk = number % 3, torch.randint(0, 12, (60,), generator=generator)
        noise = torch.randn(4, 60, 8, generator=generator)
        voice = torch.arange(8).roll(speaker) / 2
        made.vectors.append(torch.stack([sounds[walk] + voice + 0.1 * noise[0] * (1 + speaker), noise[1]]))
        made.other_voice.append(torch.stack([sounds[walk] - voice + 0.1 * noise[2], noise[3]]))
        made.mels.append(sounds[walk, :5] * 2)
        made.speakers.append(f"s{speaker}")
        made.held_out.append(number >= 15)
    return made


def test_sound_is_found_where_it_is(spoken):
    assert acoustic_r2(spoken, 0) > 0.9 and acoustic_r2(spoken, 1) < 0.05


def test_content_is_what_two_voices_share(spoken):
    assert content_agreement(spoken, 0, seed=0) > 0.6 and content_agreement(spoken, 1, seed=0) < 0.1


def test_the_speaker_is_in_the_mean(spoken):
    assert speaker_accuracy(spoken, 0, residual=False) == 1.0
    assert speaker_accuracy(spoken, 1, residual=False) < 0.8


def test_the_table_has_a_row_for_each_layer(spoken):
    table = probe_layers(spoken, spoken, seed=0)
    assert table["layer"].tolist() == [0, 1] and not table.isna().any().any()


def test_utterances_come_from_train_and_speakers_from_one_language():
    rows = [
        {
            "utterance": f"{s}/{n}",
            "speaker": s,
            "language": s[:2],
            "split": "train" if n % 2 else "test",
            "seconds": 3.0,
        }
        for s in ("en-a", "en-b", "en-c", "fr-a", "fr-b")
        for n in range(10)
    ]
    manifest = pd.DataFrame(rows)
    content = choose_for_content(manifest, 4, seed=0)
    assert set(content["split"]) == {"train"} and content["speaker"].value_counts().tolist() == [4] * 5
    assert set(choose_for_speakers(manifest, 6, seed=0)["speaker"]) == {"en-a", "en-b", "en-c"}
    one_each = manifest[manifest["speaker"].str.endswith("-a")]
    assert set(choose_for_speakers(one_each, 6, seed=0)["speaker"]) == {"en-a", "fr-a"}
