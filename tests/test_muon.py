"""Muon against its definition in double precision and against torch's own."""

import pytest
import torch

from vectok.muon import Muon, orthogonal_factor


def plain(matrix, n_iterations):
    """Newton and Schulz's iteration over the whole matrix, in double precision."""
    found = matrix.double() / matrix.double().norm()
    for _ in range(n_iterations):
        gram = found @ found.T
        found = 3.4445 * found + (-4.7750 * gram + 2.0315 * gram @ gram) @ found
    return found


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shape", [(8, 16), (16, 8), (8, 8), (1, 5)])
@pytest.mark.parametrize("n_iterations", [1, 4, 5])
def test_the_factor_is_that_of_the_plain_iteration(shape, n_iterations):
    given = noise(*shape)
    found = orthogonal_factor(given, n_iterations)
    torch.testing.assert_close(found, plain(given, n_iterations).float(), atol=1e-4, rtol=1e-4)
    assert torch.equal(given, noise(*shape))


@pytest.mark.parametrize("smallest", [1e-1, 1e-3, 1e-5])
def test_small_singular_values_do_not_make_it_diverge(smallest):
    left, right = torch.linalg.qr(noise(64, 64))[0], torch.linalg.qr(noise(256, 64))[0]
    given = left @ torch.diag(torch.logspace(0, torch.tensor(smallest).log10().item(), 64)) @ right.T
    found = orthogonal_factor(given, 5)
    assert (found - plain(given, 5)).norm() < 1e-3 * found.norm()
    assert torch.linalg.svdvals(found).max() < 1.3


def test_what_is_rounded_to_bfloat16_is_read_in_float32():
    given = noise(8, 16).bfloat16()
    torch.testing.assert_close(orthogonal_factor(given, 5), orthogonal_factor(given.float(), 5))


def test_a_matrix_of_zeros_gives_zeros():
    assert not orthogonal_factor(torch.zeros(3, 4), 5).any()


def test_steps_are_those_of_torch():
    ours, theirs = (torch.nn.Parameter(noise(6, 10)) for _ in range(2))
    own = Muon([{"params": [ours]}], weight_decay=0.1, n_iterations=5, lr=0.01)
    other = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    start = noise(6, 10)
    for number in range(4):
        for parameter, optimiser in ((ours, own), (theirs, other)):
            parameter.grad = torch.randn(6, 10, generator=torch.Generator().manual_seed(number))
            given = parameter.grad.clone()
            optimiser.step()
            assert torch.equal(parameter.grad, given)
    moved = (ours - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # torch iterates in bfloat16
    assert moved > 0.05


def test_what_has_no_gradient_stays():
    still = torch.nn.Parameter(noise(3, 4))
    Muon([{"params": [still]}], weight_decay=0.1, n_iterations=5).step()
    assert torch.equal(still, noise(3, 4))
