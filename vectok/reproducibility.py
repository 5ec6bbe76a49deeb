"""Same seed, same machine, same numbers."""

import os
import random

import numpy as np
import torch

N_THREADS = min(2, os.cpu_count() or 1)


def seed_everything(seed: int) -> torch.Generator:
    """Seeds Python, NumPy and torch, fixes the number of threads, and returns a fresh generator of that seed.

    The number of threads decides the order of floating-point sums, so it belongs to the seed: two, or one on a machine
    of one core.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(N_THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs a fourteenth of a step; nothing reads it
    return torch.Generator().manual_seed(seed)
