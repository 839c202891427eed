import torch

from warmstart.engine.examples import Examples
from warmstart.predictors.zero_shot import ZeroShot

TEXTS = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
TRAIN = Examples(torch.eye(2), torch.arange(2))


def test_scores_are_scaled_cosines():
    scores = (
        ZeroShot(scale=10.0)
        .fit(TRAIN, Examples(TEXTS, names=("cat", "dog")))
        .scores(Examples(torch.tensor([[3.0, 4.0]])))
    )
    torch.testing.assert_close(scores, torch.tensor([[6.0, 8.0]]))


def test_applies_to_named_classes_with_texts():
    assert ZeroShot.unfit(TRAIN, Examples(TEXTS, names=("cat", "7"))) is None


def test_says_why_not_for_numeric_labels():
    assert "numbers" in ZeroShot.unfit(TRAIN, Examples(TEXTS, names=("0", "1.5")))


def test_says_why_not_without_a_text_tower():
    assert "text tower" in ZeroShot.unfit(TRAIN, Examples(names=("cat", "dog")))
