from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from chain_of_zoom.runtime.shortage import compute_in_batches, try_in_memory  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def run(room: int, batch: int, count: int = 7):
    """Squares of numbers, on a device with room for so many at once."""
    sizes: list[int] = []
    told: list[tuple[int, str]] = []

    def compute(items: list[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item**2 for item in items]

    def alone(item: int) -> int:
        told.append((item, "alone"))
        return -item

    made, fitting = compute_in_batches(range(count), batch, compute, lambda *note: told.append(note), alone)
    return made, fitting, sizes, told


def test_with_room_nothing_is_said():
    assert run(room=4, batch=4) == ({n: n * n for n in range(7)}, 4, [4, 3], [])


def test_without_it_half_as_many_go_on_and_it_is_said_of_each():
    made, fitting, sizes, told = run(room=2, batch=8)
    assert made == {n: n * n for n in range(7)}
    assert (fitting, sizes) == (1, [7, 3, 1, 1, 1, 1, 1, 1, 1])
    assert told[0] == (0, "out of GPU memory with 7 at once; 3 at once")
    assert [item for item, _ in told] == [*range(7), 0, 1, 2]


def test_what_does_not_fit_by_itself_is_done_in_another_way():
    made, fitting, _, told = run(room=0, batch=2, count=2)
    assert (made, fitting) == ({0: 0, 1: -1}, 1)
    assert told[-2:] == [(0, "alone"), (1, "alone")]


def test_other_errors_are_not_lack_of_memory():
    with pytest.raises(ZeroDivisionError):
        try_in_memory(lambda: 1 // 0)
