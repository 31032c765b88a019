"""Weights that wait outside the GPU have to fit into the machine, which is said before 24 GB are read."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from chain_of_zoom.errors import ShortageError  # noqa: E402
from chain_of_zoom.runtime import placement  # noqa: E402
from chain_of_zoom.runtime.plan import Need, NetworkPart, plan  # noqa: E402

pytestmark = pytest.mark.torch

GB = 10**9
NEEDS = (
    Need(parts=(NetworkPart(name="t5", stage="texts", parameters=4 * GB),)),
    Need(parts=(NetworkPart(name="transformer", stage="image", parameters=2 * GB, work=GB),)),
)


@pytest.mark.parametrize(
    ("gpu", "host", "fits"),
    [
        (24, 9, True),  # resident: 8 GB pass through
        (24, 7, False),  # not even those
        (11, 13, True),  # swapped: both take turns, and their copies wait here
        (11, 11, False),
        (None, 30, True),  # no GPU: everything stays here, in float32
        (None, 20, False),
    ],
)
def test_the_memory_of_the_machine_is_planned_too(monkeypatch, gpu, host, fits):
    planned = plan({} if gpu is None else {"cuda:0": gpu * GB}, NEEDS)
    monkeypatch.setattr(placement, "lack_of_memory", lambda needed: None if needed <= host * GB else f"{needed} needed")
    if fits:
        placement.check_host_memory(planned)
    else:
        with pytest.raises(ShortageError, match="wait outside the GPU"):
            placement.check_host_memory(planned)


@pytest.mark.parametrize(
    ("triton", "gpus", "version", "compiles"),
    [
        (True, 1, "2.10.0", True),
        (False, 1, "2.14.1", False),
        (True, 2, "2.12.0+cu130", False),
        (True, 2, "2.13.0", True),
    ],
)
def test_compiling_needs_triton_and_for_two_gpus_a_new_torch(monkeypatch, triton, gpus, version, compiles):
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda name: object() if triton else None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "__version__", version)
    assert placement.can_compile() == compiles
