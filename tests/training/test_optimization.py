"""Update rules and learning-rate courses."""

import math

import pytest
import torch
from torch import nn

from wwae.training.configuration import OptimizerConfiguration
from wwae.training.optimization import make_optimizer, make_schedule


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0.0]),
    ],
)
def test_courses(schedule, expected):
    settings = OptimizerConfiguration(lr=0.2, schedule=schedule)
    optimizer = make_optimizer(settings, [nn.Parameter(torch.zeros(1))])
    course = make_schedule(settings, optimizer, steps=4)
    rates = []
    for _ in expected:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        course.step()
    assert rates == pytest.approx([0.2 * factor for factor in expected], abs=1e-12)


def test_sgd_with_momentum_and_decay():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer(OptimizerConfiguration(name="sgd", lr=0.1, momentum=0.5, weight_decay=0.2), [weight])
    value, velocity = 1.0, 0.0
    for _ in range(3):
        weight.grad = torch.tensor([2.0])
        optimizer.step()
        velocity = 0.5 * velocity + 2.0 + 0.2 * value
        value -= 0.1 * velocity
    assert weight.item() == pytest.approx(value, rel=1e-6)


def test_adam_takes_lr_and_decay():
    optimizer = make_optimizer(OptimizerConfiguration(lr=0.3, weight_decay=0.2), [nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.Adam)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.2)
