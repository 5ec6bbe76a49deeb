"""Every test is seeded, on one thread, and offline (sockets are blocked in pyproject.toml)."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """One thread and one seed, whatever the test before did."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """Folders of the tiny system, with all that it can do without, as the smoke profile would leave them."""
    from tests.tiny_system import add_product, make_parts

    found = make_parts(tmp_path_factory.mktemp("tiny") / "smoke")
    add_product(found)
    return found


@pytest.fixture(scope="session")
def model(parts):
    """The tiny system."""
    from tests.tiny_system import toy_encoders
    from vectok.api import load_parts

    with toy_encoders():
        return load_parts(parts)


@pytest.fixture(scope="session")
def packed(parts, tmp_path_factory):
    """The tiny system as a release."""
    from vectok import release

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "parts_of_profile", lambda profile: parts)
        patch.setattr(release, "_metrics", lambda profile: {})
        patch.setattr(release, "_language_folders", lambda profile: {})
        return release.pack("embedded", tmp_path_factory.mktemp("release") / "vectok-embedded")


@pytest.fixture
def toy_encoder():
    """For tests that load a system: its encoder is the toy."""
    from tests.tiny_system import toy_encoders

    with toy_encoders():
        yield


@pytest.fixture
def recordings(tmp_path):
    """Two recordings below a folder, and one of a target speaker."""
    from tests.tiny_system import speech
    from vectok import audio

    audio.write(tmp_path / "in" / "a.wav", speech(16_100, 3))
    audio.write(tmp_path / "in" / "deep" / "b.flac", speech(20_000, 4))
    audio.write(tmp_path / "target.wav", speech(40_000, 5))
    return tmp_path
