from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from chain_of_zoom.networks.sd.norms import fix_norms, pool_norms  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GroupNorm(4, 8), torch.nn.SiLU(), torch.nn.GroupNorm(2, 8)
    net = torch.nn.Sequential(*layers).requires_grad_(False)
    for norm in (net[1], net[3]):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return net


def test_one_picture_pools_to_its_own_statistics(net):
    x = torch.randn(1, 3, 12, 9)
    plain = net(x)
    with pool_norms(net) as statistics:
        torch.testing.assert_close(net(x), plain)
    assert [tuple(s.shape) for s in statistics] == [(2, 4), (2, 2)]
    with fix_norms(net, statistics):
        torch.testing.assert_close(net(x), plain)
        # Apart from its border, a part is now what it is within the whole: its own statistics do not count.
        torch.testing.assert_close(net(x[..., :6])[..., :5], plain[..., :5])
    assert not torch.allclose(net(x[..., :6])[..., :5], plain[..., :5], atol=1e-2)


def test_a_batch_counts_as_one_picture(net):
    batch = torch.randn(2, 3, 8, 8)
    with pool_norms(net) as statistics:
        net(batch)
    grouped = net[0](batch).reshape(2, 4, -1)
    torch.testing.assert_close(statistics[0][0], grouped.mean((0, 2)))
    torch.testing.assert_close(statistics[0][1], grouped.var((0, 2), unbiased=False))
    with fix_norms(net, statistics):
        torch.testing.assert_close(net(batch)[1:], net(batch[1:]))


def test_norms_are_themselves_again_whatever_happens(net):
    x = torch.randn(1, 3, 8, 8)
    plain = net(x)
    with pytest.raises(KeyboardInterrupt), fix_norms(net, [torch.zeros(2, 4), torch.ones(2, 2)]):
        raise KeyboardInterrupt
    assert torch.equal(net(x), plain)
    with fix_norms(net, None):
        assert torch.equal(net(x), plain)
