"""Guidance as a dial: the same inverse K-means model, going less far or farther than it is set to.

.. math:: \\hat x_t(s, p) + w\\, (\\hat x_t(s, p) - \\bar p - \\hat x_t(s, \\emptyset))

More of it takes more of the source's voice away, and more of the words with it. *Deviation*, see
:mod:`vectok.codec`.
"""

import copy
import math
from dataclasses import replace

from vectok.codec import InverseKMeans


def guided(codec: InverseKMeans, weight: float) -> InverseKMeans:
    """The same model, whose parameters it shares, with another weight.

    Arguments:
        codec: As it was trained.
        weight: w above, 0 or more; 0 leaves guidance out.
    Raises:
        ValueError: A negative weight, or any guidance of a model that was trained without it: it never saw an empty
            prompt.
    """
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"expected a weight of guidance of 0 or more, got {weight:g}: 0 leaves it out")
    if weight and not codec.config.guidance:
        raise ValueError("this model was trained without guidance: leave the weight at 0, or train with guidance")
    other = copy.copy(codec)
    other.config = replace(codec.config, guidance=weight)
    return other
