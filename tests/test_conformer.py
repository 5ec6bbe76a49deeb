"""Conformer blocks: no leak through padding or batch neighbours, relative positions, sizes."""

import dataclasses

import pytest
import torch

from vectok.conformer import Conformer, ConformerConfig, pack, reorder, rotary_angles, rotate

CONFIG = ConformerConfig(dim=16, n_blocks=2, n_heads=2, ffn_dim=32, kernel_size=5, dropout=0.0, macaron=True)


@pytest.fixture(params=[True, False], ids=["macaron", "single"])
def conformer(request):
    return Conformer(dataclasses.replace(CONFIG, macaron=request.param)).eval()


def test_padding_changes_no_valid_frame(conformer):
    hidden = torch.randn(1, 9, 16)
    alone = conformer(hidden, torch.ones(1, 9, dtype=torch.bool))
    padded = torch.cat([hidden, torch.full((1, 4, 16), torch.nan)], 1)
    mask = torch.arange(13)[None] < 9
    torch.testing.assert_close(conformer(padded, mask)[:, :9], alone, atol=1e-5, rtol=0)


def test_nan_in_padding_reaches_no_gradient(conformer):
    hidden = torch.randn(2, 6, 16)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    hidden[~mask] = torch.nan
    conformer(hidden, mask)[mask].square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in conformer.parameters())


def test_neighbours_in_the_batch_change_nothing(conformer):
    conformer.train()  # a BatchNorm would show here
    hidden, mask = torch.randn(3, 7, 16), torch.ones(3, 7, dtype=torch.bool)
    other = torch.cat([hidden[:1], 5 * torch.randn(2, 7, 16)])
    torch.testing.assert_close(conformer(hidden, mask)[0], conformer(other, mask)[0], atol=1e-5, rtol=0)


def test_every_valid_frame_matters(conformer):
    hidden, mask = torch.randn(1, 8, 16), torch.ones(1, 8, dtype=torch.bool)
    changed = hidden.clone()
    changed[0, 7] = torch.randn(16)
    difference = (conformer(hidden, mask) - conformer(changed, mask)).abs().sum(-1)[0]
    assert (difference > 1e-6).all()


def test_moving_a_sequence_inside_its_padding_changes_nothing(conformer):
    hidden, mask = torch.randn(1, 10, 16), torch.zeros(1, 10, dtype=torch.bool)
    mask[0, :4] = True
    late, late_mask = hidden.roll(6, 1), mask.roll(6, 1)
    torch.testing.assert_close(conformer(late, late_mask)[:, 6:], conformer(hidden, mask)[:, :4], atol=1e-5, rtol=0)


def test_rotation_keeps_lengths_and_only_distances():
    query, key = torch.randn(1, 1, 1, 8).expand(-1, -1, 12, -1), torch.randn(1, 1, 1, 8).expand(-1, -1, 12, -1)
    angles = rotary_angles(12, 8, torch.device("cpu"))
    torch.testing.assert_close(rotate(query, angles).norm(dim=-1), query.norm(dim=-1))
    products = (rotate(query, angles) @ rotate(key, angles).transpose(-1, -2))[0, 0]
    for distance in range(-11, 12):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=1e-5)
    assert products[0].std() > 0.01


def test_packing_moves_valid_frames_to_the_front_and_back():
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    values = torch.arange(8.0).reshape(2, 4, 1)
    order = pack(mask)
    assert reorder(values, order)[..., 0].tolist()[0][:3] == [0.0, 2.0, 3.0]
    assert reorder(values, order)[1, 0] == 5.0
    torch.testing.assert_close(reorder(reorder(values, order), order.argsort(1)), values)


@pytest.mark.parametrize(("macaron", "millions"), [(True, 145), (False, 94)])
def test_paper_size_has_the_parameters_of_either_reading(macaron, millions):
    paper = ConformerConfig(dim=1024, n_blocks=6, n_heads=8, ffn_dim=4096, kernel_size=31, dropout=0.1, macaron=macaron)
    with torch.device("meta"):
        n_parameters = sum(parameter.numel() for parameter in Conformer(paper).parameters())
    assert n_parameters / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"kernel_size": 4}, {"n_heads": 16}])
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(CONFIG, **wrong)
