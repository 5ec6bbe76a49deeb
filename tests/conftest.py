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
