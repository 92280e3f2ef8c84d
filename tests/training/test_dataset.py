"""The data of a round and the order of its batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic import bars

from wwae.training.dataset import ShuffledBatches, Split, TrainingData, derive_seed, to_float


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_pass_has_every_image_once(count, batch_size, seed):
    batches = ShuffledBatches(count, batch_size, seed)
    passes = 3
    steps = -(-passes * count // batches.batch_size)
    seen = torch.cat([batches[step] for step in range(steps)])[: passes * count]
    for one_pass in seen.reshape(passes, count):
        assert one_pass.sort().values.tolist() == list(range(count))


@given(st.integers(1, 50), st.integers(1, 60), st.permutations(range(12)))
def test_a_batch_does_not_depend_on_the_batches_before(count, batch_size, order):
    in_order = ShuffledBatches(count, batch_size, seed=1)
    expected = [in_order[step] for step in range(12)]
    jumping = ShuffledBatches(count, batch_size, seed=1)
    for step in order:
        assert torch.equal(jumping[step], expected[step])


def test_orders_differ_between_passes_and_seeds():
    batches = ShuffledBatches(100, 100, seed=0)
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], ShuffledBatches(100, 100, seed=1)[0])


def test_drawing_batches_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    ShuffledBatches(10, 3, seed=0)[5]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(40, 10, 4), (44, 10, 4), (46, 10, 5), (3, 10, 1), (7, 7, 1)])
def test_steps_of_an_epoch(count, batch_size, steps):
    assert ShuffledBatches(count, batch_size, 0).steps_per_epoch == steps


@pytest.mark.parametrize(("count", "batch_size"), [(0, 1), (1, 0)])
def test_there_is_something_to_shuffle(count, batch_size):
    with pytest.raises(ValueError, match=f"expected count and batch_size at least 1, got {count} and {batch_size}"):
        ShuffledBatches(count, batch_size, 0)


def test_derived_seeds():
    seeds = {derive_seed(seed, "purpose", number) for seed in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)
    # A run that is resumed by a later release must draw the same numbers.
    assert derive_seed(0, "order", 1) == 2090566469


def test_to_float():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert torch.equal(to_float(images), torch.tensor([0.0, 0.2, 1.0]))
    already = torch.rand(3)
    assert to_float(already) is already


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 8, 8), torch.zeros(2).long(), "expected images of shape"),
        (torch.zeros(2, 1, 8, 8).double(), torch.zeros(2).long(), "dtype torch.float32 or torch.uint8, got"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(3).long(), r"expected labels of shape \[2\]"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2), "dtype torch.int64 to match images"),
    ],
)
def test_bad_splits(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


@pytest.mark.parametrize("part", ["unlabelled", "test", "validation"])
@pytest.mark.parametrize("other", [torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, 1, 12, 12)])
def test_all_parts_hold_images_of_one_kind(part, other):
    parts = {"unlabelled": bars(3, 0).images, "test": bars(3, 0), "validation": bars(3, 0)}
    parts[part] = other if part == "unlabelled" else Split(other, torch.zeros(2).long())
    with pytest.raises(ValueError, match=rf"expected {part} images of shape \[1, 12, 12\] and dtype torch.uint8"):
        TrainingData(bars(3, 0), **parts)
