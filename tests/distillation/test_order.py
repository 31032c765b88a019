"""What is drawn when: every picture once an epoch, and the same for any division of a step."""

from __future__ import annotations

import shutil

import pytest
from conftest import PHOTO, noise
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra [train]")

from chain_of_zoom.distillation import order  # noqa: E402
from chain_of_zoom.distillation.data import open_training_set  # noqa: E402
from chain_of_zoom.errors import BadInputError  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.mark.slow
@given(
    batch=st.integers(1, 3), accumulate=st.integers(1, 3), ranks=st.integers(1, 3), start=st.integers(0, 5),
    steps=st.integers(0, 4),
)  # fmt: skip
def test_each_step_has_its_own_numbers_however_it_is_divided(batch, accumulate, ranks, start, steps):
    drawn = [
        list(order.number_batches(start, start + steps, batch=batch, accumulate=accumulate, rank=rank, ranks=ranks))
        for rank in range(ranks)
    ]
    per_step = batch * accumulate * ranks
    for step in range(steps):
        parts = [each[step * accumulate : (step + 1) * accumulate] for each in drawn]
        found = sorted(k for rank in parts for part in rank for k in part)
        assert found == list(range((start + step) * per_step, (start + step + 1) * per_step))


def test_an_epoch_has_every_picture_once_and_the_next_another_order(tmp_path):
    for i in range(6):
        Image.fromarray(noise(40, 40, i)).save(tmp_path / f"{i}.png")
    data = open_training_set(tmp_path, size=32, stage="bicubic", seed=1)
    (drawn,) = order.draw_batches(data, [list(range(18))], 0)
    names = [each.example.name for each in drawn]
    epochs = [names[i : i + 6] for i in (0, 6, 12)]
    assert all(len(set(epoch)) == 6 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    (again,) = order.draw_batches(data, [[13]], 0)  # from anywhere, without what was before
    assert (again[0].example.lr == drawn[13].example.lr).all()


def test_a_set_of_damaged_pictures_is_an_error_and_not_a_traceback(tmp_path):
    shutil.copy(PHOTO, tmp_path / "a.png")
    data = open_training_set(tmp_path, size=64)
    (tmp_path / "a.png").write_bytes(PHOTO.read_bytes()[:5000])
    with pytest.raises(BadInputError, match="every picture of the set is damaged"):
        next(order.draw_batches(data, [[0]], 0))


def test_noise_belongs_to_the_example():
    both, second = order.draw_noise([4, 5], 7, (2, 3, 3), 1000), order.draw_noise([5], 7, (2, 3, 3), 1000)
    assert torch.equal(both.posterior[1:], second.posterior)
    assert torch.equal(both.matching_time[1:], second.matching_time)
    assert not torch.equal(both.matching, both.denoising)
    assert not torch.equal(both.posterior[0], both.posterior[1])
    assert not torch.equal(order.draw_noise([5], 8, (2, 3, 3), 1000).posterior, second.posterior)
    times = order.draw_noise(range(400), 0, (1, 1, 1), 1000).matching_time
    assert times.min() < 50
    assert times.max() > 950
