"""The cards that are not there behave as cards do; what is tested on them means as much as this does."""

from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch", reason="needs the extra [diffusion]")

from emulated_gpu import EmulatedGpus, EmulatedTensor  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

MB = 10**6


def test_tensors_say_where_they_are_and_compute_what_a_cpu_computes():
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with EmulatedGpus({0: MB, 1: MB}) as gpus:
        assert (torch.cuda.is_available(), torch.cuda.device_count()) == (True, 2)
        for there in (x.to("cuda:1"), x.cuda(1), torch.tensor(x.tolist(), device="cuda:1")):
            assert (str(there.device), there.is_cuda, there.is_cpu, there.get_device()) == ("cuda:1", True, False, 1)
            assert torch.equal((there @ there).cpu(), x @ x)
        assert str(torch.zeros(2, device="cuda").device) == "cuda:0"
        assert torch.empty_like(there).device == there.new_zeros(3).device == there.device
        with pytest.raises(RuntimeError):
            there.numpy()
        assert there.to("cuda:1") is there, "no copy for what is there already"
        assert gpus.cards[1].calls["aten.mm.default"] == 3
    assert not torch.cuda.is_available()


def test_devices_do_not_mix_but_for_numbers_and_indices():
    with EmulatedGpus({0: MB, 1: MB}):
        here, there, further = torch.ones(3), torch.ones(3, device="cuda:0"), torch.ones(3, device="cuda:1")
        for one, other in ((here, there), (there, here), (there, further)):
            with pytest.raises(RuntimeError, match="same device"):
                one + other
        assert (there + torch.tensor(2.0)).tolist() == [3, 3, 3]
        assert there[torch.tensor([0, 2])].tolist() == [1, 1]
        attention = torch.nn.functional.scaled_dot_product_attention
        with torch.inference_mode(), pytest.raises(RuntimeError, match="same device"):
            attention(*(torch.ones(1, 1, 2, 2, device=device) for device in ("cuda:0", "cuda:0", "cpu")))


def test_memory_is_counted_shared_by_views_given_back_and_refused_beyond_the_budget():
    with EmulatedGpus({0: MB}) as gpus:
        card = gpus.cards[0]
        x = torch.zeros(100_000, device="cuda")
        rows = x.view(1000, 100)[:10]
        assert (card.held, torch.cuda.mem_get_info(0)) == (400_000, (600_000, MB))
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            torch.zeros(200_000, device="cuda")
        assert (card.held, card.refused) == (400_000, 1)
        del x
        assert card.held == 400_000, "a view holds it"
        del rows
        assert (card.held, card.peak) == (0, 400_000)


def test_copies_are_counted_by_way_and_bytes():
    with EmulatedGpus({0: MB, 1: MB}) as gpus:
        x = torch.zeros(10).to("cuda:0")
        x.to("cuda:1").cpu()
        x.copy_(torch.ones(10))
        x.half()
    assert gpus.copies == {"host to cuda:0": 2, "cuda:0 to cuda:1": 1, "cuda:1 to host": 1}
    assert gpus.bytes == {"host to cuda:0": 80, "cuda:0 to cuda:1": 40, "cuda:1 to host": 40}


def test_modules_move_and_learn_there_and_tied_weights_stay_tied():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
    net[2].weight = net[0].weight
    x = torch.ones(1, 4)
    net(x).sum().backward()
    expected, before = net[0].weight.grad.clone(), net[0].weight.detach().clone()
    net.zero_grad()
    with EmulatedGpus({0: MB}) as gpus:
        net.to("cuda")
        assert isinstance(net[0].weight.data, EmulatedTensor)
        assert isinstance(net[0].weight, torch.nn.Parameter)
        assert net[0].weight is net[2].weight
        net(x.cuda()).sum().backward()
        torch.testing.assert_close(net[0].weight.grad.cpu(), expected)
        net[0].weight.data = net[0].weight.data.half()
        assert (net[0].weight * 2).dtype == torch.float16
        net.float().to("cpu")
        assert gpus.cards[0].held == 0
    torch.testing.assert_close(net[0].weight.detach(), before, atol=1e-3, rtol=1e-3)


def test_bfloat16_may_give_nan_and_threads_see_the_cards_too():
    results = []

    def compute() -> None:
        x = torch.ones(2, 2, device="cuda")
        results.append((bool((x.bfloat16() @ x.bfloat16()).isnan().all()), bool((x @ x).isfinite().all())))

    with EmulatedGpus({0: MB}, nan=[torch.bfloat16]):
        compute()
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    assert results == [(True, True)] * 2


def test_mixed_precision_is_what_autocast_makes_of_it():
    with EmulatedGpus({0: MB}):
        x = torch.ones(2, 2, device="cuda", requires_grad=True)
        with torch.autocast("cuda", torch.bfloat16):
            product = x @ x
        assert product.dtype == torch.bfloat16
        product.sum().backward()
        assert x.grad.dtype == torch.float32
