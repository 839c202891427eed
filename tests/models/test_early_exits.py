"""Gates and where they stop: the paper's formulas by hand, and what gradients reach."""

import pytest
import torch

from warmstart.models.early_exits import (
    EarlyExits,
    exit_probabilities,
    first_exit,
    stop_probabilities,
    uncertainty,
)


@pytest.mark.faithful("jei-dnn")
def test_what_gates_read_is_confidence_entropy_margin_and_entropy_of_squares():
    p = torch.tensor([0.5, 0.3, 0.2])
    squared = torch.tensor([0.25, 0.09, 0.04]) / 0.38
    expected = [0.5, -(p * p.log()).sum(), 0.2, -(squared * squared.log()).sum()]
    torch.testing.assert_close(uncertainty(p.log().unsqueeze(0))[0], torch.tensor(expected))


@pytest.mark.faithful("jei-dnn")
def test_exit_probabilities_share_what_is_left():
    gates = torch.tensor([[0.2, 0.5, 0.6, 0.9], [1.0, 0.4, 0.4, 0.4]])
    found = exit_probabilities(gates)
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.5, 0.3, 0.0], [1.0, 0.0, 0.0, 0.0]]))


@pytest.mark.faithful("jei-dnn")
def test_a_row_leaves_where_the_share_of_what_got_there_is_a_half():
    exits = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.2, 0.1]])
    stops = stop_probabilities(exits)
    # 0.5 of the 0.8 that got to the second exit; 0.3 of 0.3 that got to the third.
    torch.testing.assert_close(stops, torch.tensor([[0.2, 0.625, 1.0], [0.1, 0.2 / 0.9, 0.1 / 0.7]]))
    assert first_exit(stops >= 0.5).tolist() == [1, 3]


def test_gates_send_no_gradient_into_heads():
    torch.manual_seed(0)
    exits = EarlyExits(widths=[4, 4], outputs=3, blocks=[0, 1], costs=[0.3, 0.6, 1.0])
    exits.gate_logits(exits.logits([torch.randn(5, 4), torch.randn(5, 4)])).sum().backward()
    assert all(parameter.grad is None for parameter in exits.heads.parameters())
    assert all(parameter.grad is not None for parameter in exits.gates.parameters())


def test_costs_are_one_more_than_exits():
    with pytest.raises(ValueError, match="2 exits and the end have 3 costs, not 2"):
        EarlyExits(widths=[4, 4], outputs=3, blocks=[0, 1], costs=[0.3, 1.0])
