"""The policy of placement, as a table: memory is numbers here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chain_of_zoom.errors import BackboneError, UsageError
from chain_of_zoom.runtime.plan import AT_MOST, Need, NetworkPart, plan

GB = 10**9
# SD3-medium and Qwen2.5-VL-3B, as benchmarks/placement.py counts them.
VLM = NetworkPart(name="vlm", stage="prompts", parameters=3_754_622_976, quantisable=3_441_197_056, work=GB * 4 // 10)
PAPER = (
    Need(parts=(VLM,)),
    Need(
        parts=(
            NetworkPart(name="clip", stage="texts", parameters=818_310_144, work=GB // 100),
            NetworkPart(
                name="t5", stage="texts", parameters=4_762_310_656, quantisable=4_630_511_616, work=GB * 2 // 10
            ),
            NetworkPart(name="transformer", stage="image", parameters=2_028_328_000, work=GB * 56 // 100),
            NetworkPart(name="vae", stage="image", parameters=83_819_683, work=GB * 161 // 100, dtype="float32"),
        )
    ),
)
ALL = {"prompts", "texts", "image"}


def asked(**options: str) -> tuple[Need, ...]:
    return tuple(replace(need, **options) for need in PAPER)


@pytest.mark.parametrize(
    ("gigabytes", "mode", "int8", "pinned", "batch"),
    [
        (8, "low", {"vlm", "t5"}, set(), {"prompts": 8, "texts": 2, "image": 1}),
        (12, "low", {"vlm", "t5"}, set(), {"prompts": 16, "texts": 16, "image": 4}),
        (16, "staged", set(), set(), {"prompts": 16, "texts": 16, "image": 4}),
        (20, "resident", {"vlm", "t5"}, ALL, {"prompts": 8, "texts": 16, "image": 2}),
        (24, "resident", {"t5"}, ALL, {"prompts": 8, "texts": 16, "image": 2}),
        (48, "resident", set(), ALL, {"prompts": 16, "texts": 16, "image": 8}),
        (80, "resident", set(), ALL, {"prompts": 16, "texts": 16, "image": 16}),
    ],
)
def test_what_a_gpu_of_each_size_does_with_the_papers_models(gigabytes, mode, int8, pinned, batch):
    placement = plan({"cuda:0": gigabytes * GB}, PAPER)
    assert (placement.mode, placement.pinned, placement.batch) == (mode, pinned, batch)
    assert {each.device for each in placement.parts} == {"cuda:0"}
    assert placement.together == AT_MOST
    dtypes = {each.part.name: each.dtype for each in placement.parts}
    assert dtypes.pop("vae") == "float32"
    assert set(dtypes.values()) == {"bfloat16"}
    assert {each.part.name for each in placement.parts if each.int8} == int8


def test_a_precision_that_was_asked_for_is_not_given_up_for_a_place():
    placement = plan({"cuda:0": 24 * GB}, asked(dtype="bfloat16"))
    assert (placement.mode, placement.pinned) == ("staged", {"image"})
    assert not any(each.int8 for each in placement.parts)


def test_too_little_for_any_way_is_an_error_that_says_how_much():
    with pytest.raises(BackboneError, match=r"need 6\.\d GB at once, in int8 and swapped, and cuda:0 has 4\.0 GB free"):
        plan({"cuda:0": 4 * GB}, PAPER)


def test_without_a_gpu_everything_is_in_float32_on_the_cpu_one_picture_at_a_time():
    placement = plan({}, PAPER)
    assert placement.mode == "resident"
    assert {str(each) for each in placement.parts} == {"cpu float32"}
    assert set(placement.batch.values()) == {1}
    assert (placement.together, placement.static, placement.is_pipelined) == (1, False, False)
    assert str(placement) == "memory resident: vlm, clip, t5, transformer, vae on cpu float32"
    low = plan({}, asked(memory="low"))
    assert {each.part.name for each in low.parts if each.int8} == {"vlm", "t5"}
    assert low.pinned == {"prompts", "texts", "image"}, "host memory is not ours to plan"


def test_low_is_low_however_much_there_is():
    placement = plan({"cuda:0": 80 * GB}, asked(memory="low"))
    assert placement.mode == "low"
    assert placement.as_record() == {
        "memory": "low",
        "vlm": "cuda:0 bfloat16 with int8 weights",
        "clip": "cuda:0 bfloat16",
        "t5": "cuda:0 bfloat16 with int8 weights",
        "transformer": "cuda:0 bfloat16",
        "vae": "cuda:0 float32",
    }


def test_what_is_asked_for_is_done():
    mixed = (replace(PAPER[0], device="cpu"), replace(PAPER[1], device="cuda:1", dtype="float16"))
    placement = plan({"cuda:0": 24 * GB, "cuda:1": 24 * GB}, mixed)
    assert placement.as_record() == {
        "memory": "resident",
        "vlm": "cpu float32",
        "clip": "cuda:1 float16",
        "t5": "cuda:1 float16",
        "transformer": "cuda:1 float16",
        "vae": "cuda:1 float32",
    }
    assert placement.batch["prompts"] == 1
    assert not placement.is_pipelined
    with pytest.raises(UsageError, match="memory 'little'; accepted: auto, low"):
        Need(parts=(), memory="little")  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")])
def test_two_gpus_have_prompts_and_pictures_each(order):
    larger, smaller = order
    placement = plan({larger: 24 * GB, smaller: 12 * GB}, PAPER)
    assert placement.mode == "resident"
    assert {each.part.name: each.device for each in placement.parts} == {
        "vlm": smaller,
        "clip": larger,
        "t5": larger,
        "transformer": larger,
        "vae": larger,
    }
    assert placement.is_pipelined
    alone = plan({larger: 24 * GB, smaller: 12 * GB}, (replace(PAPER[0]), replace(PAPER[1], device=smaller)))
    assert alone.parts_of("prompts")[0].device == larger, "not beside the backbone that was put there"
    assert alone.mode == "low", "12 GB do not hold both text encoders in bfloat16"


def test_a_backbone_or_a_prompter_alone():
    assert plan({"cuda:0": 24 * GB}, PAPER[1:]).mode == "resident"
    assert plan({"cuda:0": 9 * GB}, PAPER[:1]).mode == "resident"
    small = plan({"cuda:0": 8 * GB}, PAPER[:1])
    assert small.as_record() == {"memory": "resident", "vlm": "cuda:0 bfloat16 with int8 weights"}
    nothing = plan({"cuda:0": GB}, [])
    assert (nothing.mode, nothing.parts) == ("resident", ())


@pytest.mark.parametrize(
    ("gigabytes", "pictures", "static"), [(80, 1, False), (80, 255, True), (80, 100, False), (16, 1000, False)]
)
def test_decoding_is_compiled_for_many_pictures_and_weights_that_stay(gigabytes, pictures, static):
    assert plan({"cuda:0": gigabytes * GB}, PAPER, pictures=pictures).static == static


def test_old_cards_get_the_short_type_that_they_have_and_nothing_is_compiled_without_a_compiler():
    old = plan({"cuda:0": 80 * GB}, PAPER, pictures=255, half={"cuda:0": "float16"}, can_compile=False)
    assert {part.dtype for part in old.parts if part.part.dtype is None} == {"float16"}
    assert not old.static


@pytest.mark.slow
@given(
    free=st.dictionaries(st.sampled_from(["cuda:0", "cuda:1", "cuda:2"]), st.integers(0, 90 * GB)), low=st.booleans()
)
@examples(max_examples=200)
def test_whatever_is_planned_fits(free, low):
    needs = asked(memory="low") if low else PAPER
    try:
        placement = plan(free, needs)
    except BackboneError:
        assert free
        return
    assert plan(dict(reversed(free.items())), needs).mode == placement.mode
    for device in {each.device for each in placement.parts} & free.keys():
        here = [each for each in placement.parts if each.device == device]
        for stage in {each.part.stage for each in here}:
            inside = [each for each in here if each.part.stage in {*placement.pinned, stage}]
            assert sum(each.part.weights(each.dtype, low=each.int8) for each in inside) <= free[device]
            assert 1 <= placement.batch[stage] <= AT_MOST
