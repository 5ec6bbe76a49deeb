"""The command line over files and folders, on a system of tiny random parts."""

import argparse
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_system import DIM, guided_system, speech
from vectok import audio, cli, cli_jobs, cli_tasks
from vectok.bitstream import files, systems
from vectok.layout import REPOSITORY
from vectok.tasks import anonymise, voices
from vectok.tasks.denoise import denoise
from vectok.tasks.extend import extend

pytestmark = pytest.mark.usefixtures("toy_encoder")


def outputs(folder):
    """Files below a folder, by their path in it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def check_audio(path, expected):
    """What a file holds is what was expected, up to its 16 bits."""
    torch.testing.assert_close(audio.read(path), expected, rtol=0, atol=1e-4)


def errors_of(capsys):
    """Lines of error, each for one input."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def coder(model):
    return systems.coder_of(model)


# Token files.


def test_encode_then_decode_by_files_is_convert(packed, model, coder, recordings):
    source, target = str(recordings / "in"), str(recordings / "target.wav")
    common = ["--model", str(packed), "--out"]
    assert cli.main(["encode", source, "--vectors", "--language", "en", *common, str(recordings / "tokens")]) == 0
    expected = ["a.safetensors", "a.vtok", "deep/b.safetensors", "deep/b.vtok"]
    assert outputs(recordings / "tokens") == expected
    content, encoding = files.read(recordings / "tokens" / "a.vtok", coder), model.encode(recordings / "in" / "a.wav")
    assert torch.equal(content.tokens, encoding.tokens)
    assert content[1:] == (16_100, "en", None)
    vectors = load_file(recordings / "tokens" / "a.safetensors")["vectors"]
    assert vectors.shape == (51, DIM) and torch.equal(vectors, encoding.vectors.half())
    assert cli.main(["decode", str(recordings / "tokens"), "--prompt", target, *common, str(recordings / "back")]) == 0
    assert outputs(recordings / "back") == ["a.wav", "deep/b.wav"]
    check_audio(recordings / "back" / "a.wav", model.convert(recordings / "in" / "a.wav", target))
    assert not list(recordings.rglob("*.partial"))


def test_a_file_with_a_voice_decodes_on_its_own(packed, model, coder, recordings):
    common, own, other = ["--model", str(packed), "--out"], recordings / "own", recordings / "other"
    source, target = str(recordings / "in" / "a.wav"), str(recordings / "target.wav")
    assert cli.main(["encode", source, "--prompt-seconds", "1", *common, str(own)]) == 0
    assert cli.main(["encode", source, "--prompt", target, *common, str(other)]) == 0
    assert len(files.read(own / "a.vtok", coder).prompt.tokens) == 50
    assert len(files.read(other / "a.vtok", coder).prompt.tokens) == 125  # all 2.5 s of the target
    for folder, voice in ((own, source), (other, target)):
        assert cli.main(["decode", str(folder), *common, str(folder), "--format", "flac"]) == 0
        seconds = 1.0 if folder == own else 3.0
        content = systems.encode(model, coder, source, prompt=voice, prompt_seconds=seconds)
        check_audio(folder / "a.flac", systems.decode(model, coder, content))
    assert not torch.equal(audio.read(own / "a.flac"), audio.read(other / "a.flac"))


def test_files_that_cannot_be_decoded_are_named_with_the_reason(packed, model, coder, recordings, capsys):
    content = systems.encode(model, coder, recordings / "in" / "a.wav")
    data = files.pack(coder, content)
    spoilt = {
        "alone.vtok": data, "cut.vtok": data[:-5], "flipped.vtok": data[:40] + bytes([data[40] ^ 1]) + data[41:],
        "later.vtok": data[:4] + b"\x09" + data[5:], "junk.vtok": b"junk",
    }  # fmt: skip
    for name, part in spoilt.items():
        (recordings / name).write_bytes(part)
    coder.identity, kept = coder.identity._replace(codebook=b"abcd"), coder.identity
    files.write(recordings / "foreign.vtok", coder, content)
    coder.identity = kept
    names = [*spoilt, "foreign.vtok", "absent.vtok"]
    arguments = [*(str(recordings / name) for name in names), "--out", str(recordings / "out"), "--model", str(packed)]
    assert cli.main(["decode", *arguments]) == 1
    reasons = (
        "holds no prompt: give one (--prompt)", "is truncated", "does not have the checksum",
        "expected .vtok version 1, got 9", "expected a .vtok file", "expected codebook", "cannot be read",
    )  # fmt: skip
    for line, name, reason in zip(errors_of(capsys), names, reasons, strict=True):
        assert line.startswith(f"error: {recordings / name}: ") and reason in line
    assert not (recordings / "out").exists()


def test_encode_refuses_what_no_file_can_hold(packed, recordings, capsys):
    audio.write(recordings / "in" / "brief.wav", speech(8_000, 1))
    common = [str(recordings / "in"), "--out", str(recordings / "out"), "--model", str(packed)]
    assert cli.main(["encode", "--prompt-seconds", "2", *common]) == 1
    assert outputs(recordings / "out") == ["a.vtok", "deep/b.vtok"]
    assert ["brief.wav" in line and "at least 1 s, got 0.5 s" in line for line in errors_of(capsys)] == [True]
    assert cli.main(["encode", "--language", "English", *common]) == 1
    assert "expected" in (found := errors_of(capsys))[0] and "'English'" in found[0] and len(found) == 1
    for value in ("0.5", "31", "nan", "some"):
        with pytest.raises(SystemExit):
            cli.main(["encode", "--prompt-seconds", value, *common])
        assert "expected 1 to 30 seconds" in capsys.readouterr().err


# Conversion.


def test_convert_goes_on_after_a_bad_file(packed, recordings, capsys):
    (recordings / "in" / "broken.wav").write_bytes(b"RIFF no audio")
    (recordings / "in" / "notes.txt").write_text("not asked for")
    out = recordings / "out"
    arguments = ["convert", str(recordings / "in"), "--target", str(recordings / "target.wav")]
    assert cli.main([*arguments, "--out", str(out), "--model", str(packed)]) == 1
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == ["a.wav", "deep/b.wav"]
    assert len(audio.read(out / "a.wav")) == 16_100
    errors = capsys.readouterr().err
    assert errors.count("broken.wav") == 1 and "2 of 3 files done" in errors


def test_guidance_is_an_option_of_all_that_say_tokens_again(model, recordings, monkeypatch, capsys):
    guided, source, target = guided_system(model, 0.5), recordings / "in" / "a.wav", recordings / "target.wav"
    monkeypatch.setattr("vectok.api.load", lambda path: guided)
    common = ["--guidance", "0.25", "--out", str(recordings / "out")]
    assert cli.main(["convert", str(source), "--target", str(target), *common]) == 0
    assert guided.guidance == 0.25
    check_audio(recordings / "out" / "a.wav", guided.convert(source, target))
    parser = cli.build_parser()
    for verb, usual in (("decode", None), ("convert --target t", None), ("anonymise", 0.0), ("extend --prompt p", 0.0)):
        assert parser.parse_args([*verb.split(), "a.wav", "--out", "o"]).guidance == usual
    for verb in ("decode", "anonymise", *(f"{name} --prompt p" for name in ("denoise", "extend"))):
        assert parser.parse_args([*verb.split(), "a.wav", *common]).guidance == 0.25
    assert cli.main(["convert", str(source), "--target", str(target), "--guidance", "-1", *common[2:]]) == 1
    assert "0 or more, got -1" in errors_of(capsys)[0]


def test_a_short_target_and_a_missing_model_end_the_command(packed, recordings, capsys):
    audio.write(recordings / "short.wav", speech(3_200, 1))
    arguments = ["convert", str(recordings / "in"), "--out", str(recordings / "out"), "--target"]
    assert cli.main([*arguments, str(recordings / "short.wav"), "--model", str(packed)]) == 1
    assert "short.wav: expected a prompt of at least 1 s" in capsys.readouterr().err
    assert cli.main([*arguments, str(recordings / "target.wav"), "--model", "nothing"]) == 1
    assert "error: nothing: expected a profile" in capsys.readouterr().err
    assert not (recordings / "out").exists()


# Tasks.


def test_anonymise_is_the_library_by_name_and_repeats_itself(packed, model, recordings):
    common = [str(recordings / "in"), "--model", str(packed), "--preservation", "0.25", "--seed", "3", "--out"]
    for folder in ("first", "second"):
        assert cli.main(["anonymise", *common, str(recordings / folder)]) == 0
    assert outputs(recordings / "first") == ["a.wav", "deep/b.wav"]
    for name in outputs(recordings / "first"):
        assert (recordings / "first" / name).read_bytes() == (recordings / "second" / name).read_bytes()
    pool, config = voices.of_home(model.home), anonymise.AnonymisationConfig(preservation=0.25, seed=3)
    expected = anonymise.anonymise(model, recordings / "in" / "deep" / "b.flac", pool, config, "deep/b")
    check_audio(recordings / "first" / "deep" / "b.wav", expected)


def test_a_speaker_keeps_the_voice_that_was_drawn(packed, model, recordings):
    for name in ("deep/b", "deep/c", "other/b"):
        audio.write(recordings / "in" / f"{name}.flac", speech(20_000, 4))
    common = [str(recordings / "in"), "--model", str(packed), "--out", str(recordings / "out"), "--format", "flac"]
    assert cli.main(["anonymise", *common, "--level", "speaker", "--seed", "2"]) == 0
    one, same, other = (audio.read(recordings / "out" / f"{name}.flac") for name in ("deep/b", "deep/c", "other/b"))
    assert torch.equal(one, same) and not torch.equal(one, other)
    config = anonymise.AnonymisationConfig(level="speaker", seed=2)
    source, pool = recordings / "in" / "other" / "b.flac", voices.of_home(model.home)
    check_audio(recordings / "out" / "other" / "b.flac", anonymise.anonymise(model, source, pool, config, "", "other"))


def test_a_pool_of_recordings_takes_the_place_of_the_models(packed, model, recordings, capsys):
    pool, out = recordings / "pool", recordings / "out"
    common = [str(recordings / "in" / "a.wav"), "--model", str(packed), "--out", str(out), "--pool"]
    assert cli.main(["anonymise", *common, str(pool)]) == 1
    assert "pool: expected a folder" in errors_of(capsys)[0]
    for seed in range(2):
        audio.write(pool / f"{seed}.wav", speech(32_000, seed))
    assert cli.main(["anonymise", *common, str(pool)]) == 1
    assert "pool of at least 4 voices, got 2" in errors_of(capsys)[0] and not out.exists()
    assert cli.main(["anonymise", *common, str(pool), "--method", "fixed"]) == 0
    check_audio(out / "a.wav", model.convert(recordings / "in" / "a.wav", pool / "0.wav"))
    assert cli.main(["anonymise", *common, str(pool), "--preservation", "2"]) == 1
    assert "preservation in [0, 1]" in errors_of(capsys)[0]


def test_denoise_and_extend_are_the_library(packed, model, recordings):
    source, target = recordings / "in" / "a.wav", recordings / "target.wav"
    common = [str(recordings / "in"), "--prompt", str(target), "--model", str(packed), "--out"]
    made = {
        "denoise": denoise(model, source, target), "denoise --gate-first": denoise(model, source, target, True),
        "extend": extend(model, source, target), "extend --keep-below-hz 3800": extend(model, source, target, 3800.0),
    }  # fmt: skip
    for number, (verb, expected) in enumerate(made.items()):
        name, *options = verb.split()
        assert cli.main([name, *options, *common, str(recordings / str(number))]) == 0
        assert outputs(recordings / str(number)) == ["a.wav", "deep/b.wav"]
        check_audio(recordings / str(number) / "a.wav", expected)
    assert not torch.allclose(made["extend"], made["extend --keep-below-hz 3800"])


def test_a_task_goes_on_after_a_bad_file_and_says_what_is_wrong(packed, recordings, capsys):
    (recordings / "in" / "broken.wav").write_bytes(b"RIFF no audio")
    common = [str(recordings / "in"), "--prompt", str(recordings / "target.wav"), "--model", str(packed), "--out"]
    assert cli.main(["denoise", *common, str(recordings / "out")]) == 1
    assert ["broken.wav" in line for line in errors_of(capsys)] == [True]
    assert outputs(recordings / "out") == ["a.wav", "deep/b.wav"]
    assert cli.main(["extend", "--keep-below-hz", "100", *common, str(recordings / "none")]) == 1
    assert sum("a limit in (300, 8000) Hz" in line for line in errors_of(capsys)) == 2
    assert not (recordings / "none").exists()


def test_the_command_has_the_librarys_settings():
    assert (cli_tasks.METHODS, cli_tasks.LEVELS) == (anonymise.METHODS, anonymise.LEVELS)
    parsed, config = cli.build_parser().parse_args(["anonymise", "x", "--out", "y"]), anonymise.AnonymisationConfig()
    assert all(getattr(parsed, name) == getattr(config, name) for name in config.__dataclass_fields__)


# The rest.


def test_every_option_has_help():
    verbs = next(action for action in cli.build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert {"encode", "decode", "convert", "anonymise", "denoise", "extend", "say"} <= set(verbs.choices)
    for verb, parser in verbs.choices.items():
        assert parser.description and all(action.help for action in parser._actions), verb
        assert parser.format_help()


def test_jobs_keep_their_places_and_never_replace_an_input(recordings):
    inside = recordings / "in"
    jobs = cli_jobs.find_jobs([inside, recordings / "target.wav"], inside / "out", cli_jobs.AUDIO_SUFFIXES, ".wav")
    assert [job.output.relative_to(inside / "out").as_posix() for job in jobs] == ["a.wav", "deep/b.wav", "target.wav"]
    audio.write(inside / "out" / "a.wav", speech(640, 1))
    assert len(cli_jobs.find_jobs([inside], inside / "out", cli_jobs.AUDIO_SUFFIXES, ".wav")) == 2
    with pytest.raises(ValueError, match="would be replaced"):
        cli_jobs.find_jobs([inside / "a.wav"], inside, cli_jobs.AUDIO_SUFFIXES, ".wav")
    audio.write(inside / "a.flac", speech(640, 1))
    with pytest.raises(ValueError, match="would both become"):
        cli_jobs.find_jobs([inside], recordings / "out", cli_jobs.AUDIO_SUFFIXES, ".wav")
    (recordings / "empty").mkdir()
    with pytest.raises(ValueError, match="no file with one of"):
        cli_jobs.find_jobs([recordings / "empty"], recordings / "out", cli_jobs.AUDIO_SUFFIXES, ".wav")


def test_help_names_the_verbs():
    done = subprocess.run(
        [sys.executable, "-m", "vectok.cli", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert all(verb in done.stdout for verb in ("encode", "decode", "convert", "anonymise", "denoise", "extend"))
