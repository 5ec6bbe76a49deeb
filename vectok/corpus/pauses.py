"""Cuts long recordings at their pauses."""

import torch
from jaxtyping import Float
from torch import Tensor

from vectok.frames import SAMPLES_PER_FRAME, seconds_of_frames

QUIET_DB = -35.0  # below the loud frames (95th percentile)
SHORTEST_PIECE_SECONDS = 1.0


def frame_levels_db(audio: Float[Tensor, " samples"]) -> Float[Tensor, " frames"]:
    r"""Level of each whole frame, :math:`10 \log_{10} (\overline{x^2} + 10^{-10})` in dB of full scale."""
    n_frames = len(audio) // SAMPLES_PER_FRAME
    power = audio[: n_frames * SAMPLES_PER_FRAME].reshape(n_frames, SAMPLES_PER_FRAME).square().mean(dim=1)
    return 10 * torch.log10(power + 1e-10)


def cut_at_pauses(audio: Float[Tensor, " samples"], longest_seconds: float) -> list[tuple[float, float]]:
    """Stretches of at most ``longest_seconds`` that cover a recording, cut in the longest pauses.

    A stretch that is too long is halved in its longest pause that leaves a second on either side, or at its quietest
    frame where it has none, again and again.

    Returns: (start_seconds, end_seconds) of each stretch, in order, without gaps.
    Example:
        >>> cut_at_pauses(torch.ones(16000), 5.0)
        [(0.0, 1.0)]
    """
    levels = frame_levels_db(audio)
    quiet = levels < torch.quantile(levels, 0.95) + QUIET_DB
    longest, margin = round(longest_seconds * 50), round(SHORTEST_PIECE_SECONDS * 50)
    done, todo = [], [(0, len(levels))]
    while todo:
        start, stop = todo.pop()
        if stop - start <= max(longest, 2 * margin):
            done.append((start, stop))
            continue
        cut = _best_cut(levels, quiet, start + margin, stop - margin)
        todo += [(start, cut), (cut, stop)]
    return [(seconds_of_frames(start), seconds_of_frames(stop)) for start, stop in sorted(done)]


def _best_cut(levels: Tensor, quiet: Tensor, start: int, stop: int) -> int:
    """Middle of the longest run of quiet frames in [start, stop), or the quietest frame."""
    best, run = (0, 0), 0
    for frame in range(start, stop):
        run = run + 1 if quiet[frame] else 0
        best = max(best, (run, frame))
    length, last = best
    return last - length // 2 if length else start + int(levels[start:stop].argmin())
