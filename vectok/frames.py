"""The one home of the arithmetic between samples, frames and seconds.

Audio has 16,000 samples and speech vectors have 50 frames per second, so that one frame covers 320 samples:
frame ``t`` covers samples ``[320 t, 320 (t + 1))``. Audio whose length is not a multiple of 320 is zero-padded
on the right, so that ``n_frames = ceil(n_samples / 320)`` for every encoder.
"""

SAMPLE_RATE_HZ = 16_000
FRAME_RATE_HZ = 50
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAME_RATE_HZ


def frames_of_samples(n_samples: int) -> int:
    r"""Number of frames that cover a signal: :math:`\lceil n / 320 \rceil`.

    Example:
        >>> frames_of_samples(0), frames_of_samples(1), frames_of_samples(320), frames_of_samples(321)
        (0, 1, 1, 2)
    """
    return -(-n_samples // SAMPLES_PER_FRAME)


def samples_of_frames(n_frames: int) -> int:
    """Number of samples that ``n_frames`` cover: :math:`320 n`.

    Example:
        >>> samples_of_frames(50)
        16000
    """
    return n_frames * SAMPLES_PER_FRAME


def frames_of_seconds(seconds: float) -> int:
    """Number of whole frames nearest to a duration.

    Example:
        >>> frames_of_seconds(3.0), frames_of_seconds(0.011)
        (150, 1)
    """
    return round(seconds * FRAME_RATE_HZ)


def seconds_of_frames(n_frames: int) -> float:
    """Duration of ``n_frames`` in seconds.

    Example:
        >>> seconds_of_frames(150)
        3.0
    """
    return n_frames / FRAME_RATE_HZ


def samples_of_seconds(seconds: float) -> int:
    """Number of samples nearest to a duration.

    Example:
        >>> samples_of_seconds(0.5)
        8000
    """
    return round(seconds * SAMPLE_RATE_HZ)


def seconds_of_samples(n_samples: int) -> float:
    """Duration of ``n_samples`` in seconds.

    Example:
        >>> seconds_of_samples(8000)
        0.5
    """
    return n_samples / SAMPLE_RATE_HZ
