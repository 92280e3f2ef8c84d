import pytest
import torch

from wwae.data import semi_supervised_split
from wwae.training.configuration import ConfigurationError

LABELS = torch.randint(0, 10, (2000,), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("labelled", [10, 100, 1000])
@pytest.mark.parametrize("validation", [0, 500])
def test_every_class_has_the_same_number_of_labels(labelled: int, validation: int) -> None:
    split = semi_supervised_split(LABELS, classes=10, labelled=labelled, validation=validation)
    assert LABELS[split.labelled].bincount(minlength=10).tolist() == [labelled // 10] * 10


@pytest.mark.parametrize("labelled", [100, "all"])
@pytest.mark.parametrize("validation", [0, 1, 500])
def test_the_parts_are_disjoint_and_cover_the_set(labelled, validation: int) -> None:
    split = semi_supervised_split(LABELS, classes=10, labelled=labelled, validation=validation)
    assert len(split.validation) == validation
    together = torch.cat([split.labelled, split.unlabelled, split.validation])
    assert torch.equal(together.sort().values, torch.arange(len(LABELS)))
    for part in (split.labelled, split.unlabelled, split.validation):
        assert part.dtype == torch.int64 and torch.equal(part, part.sort().values)


def test_all_labels_leave_nothing_unlabelled() -> None:
    split = semi_supervised_split(LABELS, classes=10, labelled="all")
    assert torch.equal(split.labelled, torch.arange(len(LABELS))) and len(split.unlabelled) == 0


def test_the_same_seeds_give_the_same_split() -> None:
    arguments = {"classes": 10, "labelled": 100, "validation": 200, "labelled_seed": 3, "validation_seed": 2}
    torch.manual_seed(1)
    first = semi_supervised_split(LABELS, **arguments)
    torch.manual_seed(2)
    second = semi_supervised_split(LABELS, **arguments)
    assert all(torch.equal(getattr(first, part), getattr(second, part)) for part in vars(first))


def test_the_draw_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    semi_supervised_split(LABELS, classes=10, labelled=100, validation=10)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_labelled_seed_keeps_the_validation_images() -> None:
    first, second = (semi_supervised_split(LABELS, classes=10, labelled=100, validation=200, labelled_seed=seed) for seed in (0, 1))
    assert not torch.equal(first.labelled, second.labelled)
    assert torch.equal(first.validation, second.validation)


def test_another_validation_seed_holds_out_other_images() -> None:
    first, second = (
        semi_supervised_split(LABELS, classes=10, labelled=100, validation=200, validation_seed=seed) for seed in (0, 1)
    )
    assert not torch.equal(first.validation, second.validation)


def test_every_image_is_drawn_about_equally_often() -> None:
    labels = torch.arange(40) % 4
    counts = torch.zeros(40)
    for index in range(400):
        counts[semi_supervised_split(labels, classes=4, labelled=8, labelled_seed=index).labelled] += 1
    # Each of 10 images a class is drawn with probability 0.2: 80 of 400 rounds, standard deviation 8.
    assert counts.sum() == 3200 and (counts - 80).abs().max() < 5 * 8


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        (105, r"expected a positive multiple of the 10 classes.*got 105 \(nearest: 100 or 110\)"),
        (7, r"got 7 \(nearest: 10\)"),
        (0, r"got 0 \(nearest: 10\)"),
        (-10, r"got -10 \(nearest: 10\)"),
        (1000000, "expected at most .*because class . has only .* training images, or 'all', got 1000000"),
    ],
)
def test_a_number_that_cannot_be_balanced_is_refused(labelled: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match="^data.labels: .*" + message):
        semi_supervised_split(LABELS, classes=10, labelled=labelled)


def test_the_largest_balanced_number_is_taken() -> None:
    largest = 10 * int(LABELS.bincount().min())
    assert len(semi_supervised_split(LABELS, classes=10, labelled=largest).labelled) == largest
    with pytest.raises(ConfigurationError, match=f"expected at most {largest}"):
        semi_supervised_split(LABELS, classes=10, labelled=largest + 10)


def test_a_class_without_images_is_named() -> None:
    with pytest.raises(ConfigurationError, match="class 2 has only 0 training images"):
        semi_supervised_split(torch.tensor([0, 1, 0, 1]), classes=3, labelled=3)


@pytest.mark.parametrize("validation", [-1, 2000, 5000])
def test_validation_must_leave_something_to_train_on(validation: int) -> None:
    with pytest.raises(ConfigurationError, match=f"^data.validation: expected from 0 to 1999 .*got {validation}"):
        semi_supervised_split(LABELS, classes=10, labelled="all", validation=validation)
