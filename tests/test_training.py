"""The training loop: resumed equals uninterrupted, schedules, players in turn, failures."""

import dataclasses

import pandas as pd
import pytest
import torch
from torch import nn

from vectok import training
from vectok.muon import orthogonal_factor
from vectok.training import Objective, TrainingConfig, finish, fit, hidden_matrices, rate_at

CONFIG = TrainingConfig(n_steps=12, learning_rate=0.05, n_warmup_steps=3, precision="no", save_every_steps=4, seed=0)


class Regression(Objective):
    """Two players, the second of which rests on even steps; dropout, so that the random state matters."""

    def __init__(self, fail_at=None):
        torch.manual_seed(1)
        self.first = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.second = nn.Linear(3, 1)
        self.fail_at = fail_at

    def players(self):
        return {"first": self.first, "second": self.second}

    def losses(self, player, batch, step):
        if step == self.fail_at:
            raise KeyboardInterrupt
        if player == "second" and step % 2 == 0:
            return {}
        return {f"{player}_mse": (self.players()[player](batch) - batch.sum(-1, keepdim=True)).square().mean()}


class Stack(nn.Module):
    """A layer that reads, two stacked ones, one that predicts."""

    def __init__(self):
        super().__init__()
        self.reads, self.predicts = nn.Linear(3, 8), nn.Linear(8, 1)
        self.stack = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5)) for _ in range(2))

    def forward(self, values):
        hidden = self.reads(values)
        for block in self.stack:
            hidden = block(hidden)
        return self.predicts(hidden)


class Stacked(Regression):
    """The first player has stacked layers."""

    def __init__(self, fail_at=None):
        super().__init__(fail_at)
        self.first = Stack()


def batch_at(step):
    return torch.randn(16, 3, generator=torch.Generator().manual_seed(step))


def weights(objective):
    return torch.cat([p.detach().flatten() for module in objective.players().values() for p in module.parameters()])


@pytest.mark.parametrize(("kind", "muon_rate"), [(Regression, 0.0), (Stacked, 1.0)])
def test_resumed_equals_uninterrupted(kind, muon_rate, tmp_path):
    config = dataclasses.replace(CONFIG, muon_rate=muon_rate)
    whole, killed = kind(), kind(fail_at=9)
    torch.manual_seed(5)
    history = fit(whole, batch_at, config, tmp_path / "whole", "test")
    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, batch_at, config, tmp_path / "killed", "test")
    resumed = kind()
    torch.manual_seed(99)
    again = fit(resumed, batch_at, config, tmp_path / "killed", "test")
    assert torch.equal(weights(resumed), weights(whole))
    pd.testing.assert_frame_equal(again, history)


def test_state_of_another_configuration_is_not_resumed(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(Regression(fail_at=9), batch_at, CONFIG, tmp_path, "test")
    other = dataclasses.replace(CONFIG, learning_rate=0.01, n_steps=3)
    assert fit(Regression(), batch_at, other, tmp_path, "test")["step"].tolist() == [0, 1, 2]
    assert "another configuration" in capsys.readouterr().out


def test_state_of_other_data_is_not_resumed(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        fit(Regression(fail_at=9), batch_at, CONFIG, tmp_path, "test")
    assert len(fit(Regression(), lambda step: batch_at(step) * 2, CONFIG, tmp_path, "test")) == CONFIG.n_steps
    assert "starting afresh" in capsys.readouterr().out


def test_finish_clears_the_state(tmp_path):
    fit(Regression(), batch_at, CONFIG, tmp_path, "test")
    assert (tmp_path / "state.pt").exists()
    finish(tmp_path)
    finish(tmp_path)
    assert not list(tmp_path.iterdir())


def test_trains_exactly_its_steps_and_reduces_the_loss(tmp_path):
    objective = Regression()
    history = fit(
        objective, batch_at, TrainingConfig(n_steps=200, learning_rate=0.05, precision="no"), tmp_path, "test"
    )
    assert history["step"].tolist() == list(range(200))
    assert history["second_mse"].dropna().iloc[-1] < 0.05 * history["second_mse"].dropna().iloc[0]
    assert history["second_mse"].isna().sum() == 100
    assert not objective.first.training


def test_a_player_that_rests_stands_still(tmp_path):
    objective = Regression()
    before = objective.second.weight.detach().clone()
    fit(objective, batch_at, TrainingConfig(n_steps=1, learning_rate=0.1, precision="no"), tmp_path, "test")
    assert torch.equal(objective.second.weight, before)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    with pytest.raises(FloatingPointError, match="first_mse"):
        fit(Regression(), lambda step: torch.full((4, 3), torch.nan), CONFIG, tmp_path, "test")


def test_rate_rises_then_falls_to_its_final_share():
    config = TrainingConfig(n_steps=100, learning_rate=2.0, n_warmup_steps=10, final_rate=0.1)
    rates = [rate_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.2, abs=0.01)


def test_hidden_matrices_are_those_of_stacked_layers_once_each():
    first = Stacked().first
    assert [id(each) for each in hidden_matrices(first)] == [id(block[0].weight) for block in first.stack]
    first.stack[0][0].weight.requires_grad_(False)
    assert [id(each) for each in hidden_matrices(first)] == [id(first.stack[1][0].weight)]
    assert not hidden_matrices(Regression().first)


def test_muon_moves_hidden_matrices_by_orthogonal_steps_and_adamw_all_else(tmp_path):
    config = TrainingConfig(n_steps=1, learning_rate=0.01, muon_rate=2.0, weight_decay=0.0, precision="no")
    whole, plain = Stacked(), Stacked()  # of one seed
    before = {name: value.detach().clone() for name, value in whole.first.named_parameters()}
    for objective, rate in ((whole, 2.0), (plain, 0.0)):
        torch.manual_seed(5)
        fit(objective, batch_at, dataclasses.replace(config, muon_rate=rate), tmp_path / str(rate), "test")
    for (name, value), other in zip(whole.first.named_parameters(), plain.first.parameters(), strict=True):
        step = value.detach() - before[name]
        if any(value is each for each in hidden_matrices(whole.first)):
            singular = torch.linalg.svdvals(step) / (0.2 * 0.02 * 8**0.5)  # 0.2 eta sqrt(max(m, n))
            assert singular.max() < 1.3 and singular[3] > 0.5
        else:
            assert torch.equal(value, other)


@pytest.fixture
def forgotten():
    training.fastest_precision.cache_clear()
    yield
    training.fastest_precision.cache_clear()


@pytest.mark.parametrize(("in_bf16", "in_float32", "expected"), [(1.0, 1.6, "bf16"), (2.0, 1.0, "no")])
def test_fastest_precision_is_what_the_machine_multiplies_faster_in(
    in_bf16, in_float32, expected, monkeypatch, forgotten
):
    seconds = {torch.bfloat16: in_bf16, torch.float32: in_float32}
    monkeypatch.setattr(training, "_seconds_of_product", seconds.__getitem__)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training.fastest_precision() == expected


def test_products_are_timed_in_the_precision_that_is_asked(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(now)))
    assert training._seconds_of_product(torch.float32) == 1.0
    monkeypatch.undo()
    assert 0 < training._seconds_of_product(torch.bfloat16) < 10


def test_the_fastest_precision_is_trained_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "fastest_precision", lambda: "no")  # Accelerate keeps one precision a process
    histories = [
        fit(Regression(), batch_at, dataclasses.replace(CONFIG, precision=precision), tmp_path / precision, "test")
        for precision in ("no", "fastest")
    ]
    pd.testing.assert_frame_equal(*histories)
    assert "test: trained in fp32" in capsys.readouterr().out


@pytest.mark.parametrize("n_iterations", [4, 5])
def test_muon_takes_as_many_iterations_as_are_asked(n_iterations):
    module = nn.ModuleList([nn.Linear(6, 4, bias=False)])
    module[0].weight.grad = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    config = dataclasses.replace(CONFIG, muon_rate=1.0, muon_iterations=n_iterations, weight_decay=0.0)
    before = module[0].weight.detach().clone()
    optimisers = training._optimisers(module, config)
    training._set_rate(optimisers, 1.0)
    optimisers[1].step()
    expected = orthogonal_factor(module[0].weight.grad, n_iterations)
    torch.testing.assert_close((before - module[0].weight.detach()) / (0.2 * 6**0.5), expected)
