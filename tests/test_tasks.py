"""Each task: targets, decisions, activation, loss and the start of a head."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maedfer.errors import UserError
from maedfer.tasks import TASKS, task_of, task_of_columns

CLASSIFY, MULTILABEL, REGRESS = TASKS.values()
OUTPUTS = torch.tensor([[0.2, -1.0, 3.0], [1.0, 0.0, -2.0]])


def test_a_task_is_found_by_its_name():
    assert [task_of(name) for name in ("classify", "multilabel", "regress")] == list(TASKS.values())
    with pytest.raises(UserError, match="'guess'") as caught:
        task_of("guess")
    assert caught.value.parameter == "task"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_cannot_be_changed(task):
    with pytest.raises(AttributeError):
        task.name = "other"


def test_targets_of_values():
    votes = np.array([1.0, 3.0, 0.0])
    assert CLASSIFY.make_target(votes, soft=True).tolist() == [0.25, 0.75, 0]
    assert CLASSIFY.make_target(votes, soft=False).tolist() == [0, 1, 0]
    assert CLASSIFY.make_target(np.zeros(3), soft=True) is None
    assert MULTILABEL.make_target(np.zeros(3), soft=False).tolist() == [0, 0, 0]
    assert REGRESS.make_target(-votes, soft=False).tolist() == [-1, -3, 0]
    assert [task.allows(-1) for task in TASKS.values()] == [False, False, True]
    assert [task.allows(2) for task in TASKS.values()] == [True, False, True]


def test_decisions():
    values = np.array([[0.5, 0.4, 0.1], [0.45, 0.1, 0.45]])
    assert CLASSIFY.decide(values).tolist() == [[True, False, False], [True, False, False]]
    assert MULTILABEL.decide(values).tolist() == [[True, False, False], [False, False, False]]
    with pytest.raises(TypeError, match="regress"):
        REGRESS.decide(values)


def test_outputs_must_be_what_the_task_predicts():
    for task in (CLASSIFY, MULTILABEL):
        with pytest.raises(UserError, match="logits"):
            task.check_outputs(OUTPUTS.numpy())
    with pytest.raises(UserError, match="add up to 1"):
        CLASSIFY.check_outputs(np.array([[0.5, 0.3]]))
    MULTILABEL.check_outputs(np.array([[0.5, 0.3]]))
    REGRESS.check_outputs(OUTPUTS.numpy())


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_activated_outputs_pass_their_own_check(task):
    task.check_outputs(task.activate(OUTPUTS).numpy())


def test_losses():
    targets, weights = torch.tensor([[0.0, 0, 1], [1, 0, 0]]), torch.tensor([1.0, 2.0, 0.5])
    smooth = F.cross_entropy(OUTPUTS, targets, weights, label_smoothing=0.1)
    assert CLASSIFY.loss(OUTPUTS, targets, weights, 0.1) == smooth
    labels = F.binary_cross_entropy_with_logits(OUTPUTS, targets, pos_weight=weights)
    assert MULTILABEL.loss(OUTPUTS, targets, weights, 0.1) == labels
    assert REGRESS.loss(OUTPUTS, targets, weights, 0.1) == ((OUTPUTS - targets) ** 2).mean()


def test_weights_and_bias_of_training_targets():
    targets = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    assert CLASSIFY.class_weights(targets).tolist() == pytest.approx([4 / 6, 2])
    assert MULTILABEL.class_weights(targets).tolist() == pytest.approx([1 / 3, 3])
    assert REGRESS.class_weights(targets).tolist() == [1, 1]
    assert CLASSIFY.initial_bias(targets) is None and REGRESS.initial_bias(targets).tolist() == [0.75, 0.25]


def test_a_table_of_predictions_names_its_task():
    assert task_of_columns(["key", "label", "predicted", "p_a", "p_b"]) == CLASSIFY
    assert task_of_columns(["key", "label_a", "p_a"]) == MULTILABEL
    assert task_of_columns(["key", "label_a", "predicted_a"]) == REGRESS
    assert task_of_columns(["key", "label_a"]) is None
    assert len({(task.is_single_label, task.output_prefix) for task in TASKS.values()}) == len(TASKS)
