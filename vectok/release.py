"""Packs the trained parts of one profile into a folder that can be published and that ``vectok.load(path)`` takes.

``python -m vectok.release --profile embedded`` writes dist/vectok-embedded/: the encoder's name, hash and statistics,
the codebook, the BPE model, the codec and the vocoder; once their stages have run, the language model and CLVP, the
coder of .vtok files, and voices to anonymise with; a model card, and SHA256SUMS over all of it (``sha256sum -c`` reads
it too). Weights are safetensors, settings are JSON, nothing is pickled.
"""

import argparse
import json
import shutil
import sys
from math import prod
from pathlib import Path

from safetensors import safe_open

from vectok.folders import replacing
from vectok.layout import REPOSITORY, reports_folder
from vectok.model_card import model_card
from vectok.parts import (
    BITSTREAM,
    FILES,
    HASHES,
    LANGUAGE_FILES,
    PRODUCT_FILES,
    VOICES,
    has_all,
    language_parts_of_profile,
    parts_of_profile,
    parts_of_release,
    sha256_of,
)
from vectok.tasks import voices


def n_parameters(weights: Path) -> int:
    """Numbers in a safetensors file, counted from its header."""
    with safe_open(weights, "pt") as file:
        names = file.keys()
        return sum(prod(file.get_slice(name).get_shape()) for name in names)


def _describe(folders: dict[str, Path]) -> dict[str, object]:
    """What the model card says of each part, read from the files."""
    configs = {name: json.loads((part / "config.json").read_text("utf-8")) for name, part in folders.items()}
    for name, part in folders.items():
        if (part / "model.safetensors").is_file():
            configs[name]["n_parameters"] = n_parameters(part / "model.safetensors")
    return configs


def _language_folders(profile: str) -> dict[str, Path]:
    """The profile's language models by name, none while their stages have not run."""
    try:
        return language_parts_of_profile(profile)._asdict()
    except ValueError as error:
        print(f"packed without language models: {error}", file=sys.stderr)
        return {}


def _bitstream_folder(home: Path) -> dict[str, Path]:
    """The coder of .vtok files by name, nothing while its stage has not run."""
    if has_all(home / BITSTREAM, PRODUCT_FILES[BITSTREAM]):
        return {BITSTREAM: home / BITSTREAM}
    print(f"packed without the coder of .vtok files: the stage {BITSTREAM} has not run", file=sys.stderr)
    return {}


def _pack_voices(home: Path, partial: Path) -> dict[str, Path]:
    """Writes the voices of a profile to anonymise with, where it has some; the folder by name."""
    try:
        voices.save(partial / VOICES, voices.of_home(home))
    except ValueError as error:
        print(f"packed without voices: {error}", file=sys.stderr)
        return {}
    return {VOICES: partial / VOICES}


def _metrics(profile: str) -> dict[str, object]:
    """What the profile's stages measured, by stage."""
    files = sorted((reports_folder(profile) / "metrics").glob("*.json"))
    return {path.stem: json.loads(path.read_text("utf-8")) for path in files}


def pack(profile: str, folder: Path) -> Path:
    """Writes the release of a profile into ``folder``, whole or not at all, and checks it.

    Raises:
        ValueError: A stage has not run.
    """
    parts, metrics = parts_of_profile(profile), _metrics(profile)
    folders = parts._asdict() | _language_folders(profile) | _bitstream_folder(parts.home)
    wanted = FILES._asdict() | LANGUAGE_FILES._asdict() | PRODUCT_FILES
    with replacing(folder) as partial:
        for name, source in folders.items():
            (partial / name).mkdir()
            for file in wanted[name]:
                shutil.copyfile(source / file, partial / name / file)
        folders |= _pack_voices(parts.home, partial)
        (partial / "README.md").write_text(model_card(profile, _describe(folders), metrics), encoding="utf-8")
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        lines = [f"{sha256_of(path)}  {path.relative_to(partial).as_posix()}\n" for path in files]
        (partial / HASHES).write_text("".join(lines), encoding="utf-8")
    parts_of_release(folder)
    return folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m vectok.release", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="embedded", help="a key of profiles in params.yaml")
    parser.add_argument("--out", type=Path, help="folder to write, dist/vectok-<profile> by default")
    arguments = parser.parse_args()
    try:
        folder = pack(arguments.profile, arguments.out or REPOSITORY / "dist" / f"vectok-{arguments.profile}")
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{folder}: try vectok.load({str(folder)!r})")


if __name__ == "__main__":
    main()
