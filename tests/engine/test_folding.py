"""Changes of several tuners become plain weights, whichever was applied first."""

import pytest
import torch

from warmstart.engine.folding import fold_all
from warmstart.models import ModelError
from warmstart.tuners.adapter import Adapter
from warmstart.tuners.channel_subset import ChannelSubset
from warmstart.tuners.lora import Lora
from warmstart.tuners.multi_head_adapter_routing import MultiHeadAdapterRouting
from warmstart.tuners.scale_shift import ScaleShift
from warmstart.tuners.singular_values import SingularValues
from warmstart.tuners.sparse_update import SparseUpdate
from warmstart.tuners.svd_lora import SvdLora
from warmstart.tuners.together import Together

IDS = torch.arange(4, 12).view(2, 4)


@torch.no_grad()
def tuned(model, tuners):
    for tuner in tuners:
        tuner.apply(model)
        for _, parameter in model.trainable():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize(
    ("tuners", "order"),
    [
        ([ScaleShift(), Lora()], ["lora", "scale_shift"]),
        ([Lora(), ScaleShift()], ["lora", "scale_shift"]),
        ([SvdLora(), ScaleShift()], ["svd_lora", "scale_shift"]),
        ([Lora(), MultiHeadAdapterRouting()], ["lora", "multi_head_adapter_routing"]),
        ([SingularValues(), ScaleShift()], ["singular_values", "scale_shift"]),
        ([SingularValues(), Lora()], ["lora", "singular_values"]),
        ([ScaleShift(), SparseUpdate(share=0.1)], ["sparse_update", "scale_shift"]),
    ],
    ids=lambda given: " ".join(one if isinstance(one, str) else one.name for one in given),
)
@torch.no_grad()
def test_what_is_nearer_to_the_weights_is_folded_first(tiny, tuners, order):
    torch.manual_seed(0)
    model, names = tuned(tiny("bert"), tuners), set(tiny("bert").backbone.state_dict())
    before = model.backbone(input_ids=IDS).last_hidden_state
    assert fold_all(model, tuners) == order
    torch.testing.assert_close(model.backbone(input_ids=IDS).last_hidden_state, before, rtol=1e-5, atol=1e-5)
    assert set(model.backbone.state_dict()) == names


def test_nothing_is_folded_where_one_cannot_be(tiny):
    tuners = [Lora(), Adapter()]
    model = tuned(tiny("bert"), tuners)
    names = set(model.backbone.state_dict())
    with pytest.raises(ValueError, match="what adapter adds has no plain weights to fold into"):
        fold_all(model, tuners)
    assert set(model.backbone.state_dict()) == names


def test_changes_that_wait_for_each_other_are_refused(tiny):
    tuners = [ChannelSubset(), ScaleShift()]
    with pytest.raises(ModelError, match="fold the other change of this layer before scale_shift"):
        fold_all(tuned(tiny("bert"), tuners), tuners)


@pytest.mark.parametrize(
    ("first", "then", "refusal"),
    [
        (ScaleShift(), SvdLora(), "fold the other change of this layer before svd_lora"),
        (SparseUpdate(share=0.1), ScaleShift(), "fold the other change of this norm before scale_shift"),
    ],
    ids=("scale_shift svd_lora", "sparse_update scale_shift"),
)
def test_what_could_not_be_folded_is_refused_at_once(tiny, first, then, refusal):
    model = tuned(tiny("bert"), [first])
    with pytest.raises(ModelError, match=refusal):
        then.apply(model)


@torch.no_grad()
def test_several_at_once_fold_whichever_stands_around_the_other(tiny):
    torch.manual_seed(0)
    both = Together([SingularValues(), ScaleShift()])
    model = tuned(tiny("bert"), [both])
    before = model.backbone(input_ids=IDS).last_hidden_state
    both.fold(model)
    torch.testing.assert_close(model.backbone(input_ids=IDS).last_hidden_state, before, rtol=1e-5, atol=1e-5)
