"""Weights that move: torch's meta device stands for the GPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from chain_of_zoom.runtime.plan import Need, NetworkPart, plan  # noqa: E402
from chain_of_zoom.runtime.residence import Residence  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


PARTS = [NetworkPart(name=stage, stage=stage, parameters=10**9) for stage in ("prompts", "texts", "image")]


def residence(free: float) -> Residence:
    need = Need(parts=tuple(PARTS), device="meta", dtype="bfloat16")
    return Residence(plan({"meta": int(free * 10**9)}, [need]))


def network() -> torch.nn.Module:
    tied = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    return tied


def where(net: torch.nn.Module) -> set[str]:
    return {tensor.device.type for tensor in (*net.parameters(), *net.buffers())}


@pytest.fixture
def nets() -> dict[str, torch.nn.Module]:
    return {part.stage: network() for part in PARTS}


def test_stages_take_turns_and_come_back_as_they_were(nets):
    before = {stage: {name: t.clone() for name, t in net.state_dict().items()} for stage, net in nets.items()}
    parameters = {stage: list(net.parameters()) for stage, net in nets.items()}
    staged = residence(3)
    assert staged.placement.mode == "staged"
    for stage, net in nets.items():
        staged.add(stage, net)
        assert where(net) == {"cpu"}
    for stage in ("prompts", "texts", "image", "image", "prompts"):
        with staged.using(stage):
            assert {name: where(net) for name, net in nets.items()} == {
                name: {"meta" if name == stage else "cpu"} for name in nets
            }
            assert nets[stage][0].weight is nets[stage][2].weight, "tied weights stay tied"
    assert staged.swaps == 4
    staged.release()
    for stage, net in nets.items():
        assert all(a is b for a, b in zip(net.parameters(), parameters[stage], strict=True)), "nothing was copied back"
        assert all(torch.equal(t, before[stage][name]) for name, t in net.state_dict().items())


def test_what_is_pinned_stays(nets):
    resident = residence(80)
    for stage, net in nets.items():
        resident.add(stage, net)
    with resident.using("texts"):
        assert {name: where(net) for name, net in nets.items()} == {name: {"meta"} for name in nets}
    resident.release()
    assert where(nets["image"]) == {"meta"}
    assert resident.swaps == 0


class Moved(torch.nn.Linear):
    """Says where it was sent: weights that were moved to the meta device for good cannot come back."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.sent: list[str] = []

    def to(self, device):
        self.sent.append(device)
        return self


def test_all_but_one_stage_can_be_sent_away_later():
    resident = residence(80)
    nets = {part.stage: Moved() for part in PARTS}
    for stage, net in nets.items():
        resident.add(stage, net)
    assert resident.offload("image")
    assert {stage: net.sent for stage, net in nets.items()} == {
        "prompts": ["meta", "cpu"], "texts": ["meta", "cpu"], "image": ["meta"],
    }  # fmt: skip
    assert not resident.offload("image"), "there is nothing left to send away"
    with resident.using("texts"):
        assert nets["image"].sent == ["meta", "cpu"]
        assert where(nets["texts"]) == {"meta"}


def test_the_record_waits_for_the_last_network(nets):
    staged = residence(3)
    staged.add("prompts", nets["prompts"])
    assert staged.as_record() == {}
    staged.add("texts", nets["texts"])
    staged.add("image", nets["image"])
    staged.changed["image"] = "meta float16"
    assert staged.as_record() == {
        "memory": "staged", "prompts": "meta bfloat16", "texts": "meta bfloat16", "image": "meta float16",
    }  # fmt: skip
    assert str(staged) == "memory staged: prompts, texts on meta bfloat16; image on meta float16 (3.0 GB free on meta)"
