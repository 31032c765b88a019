"""GPUs that are not there: tensors in this machine's memory that say they lie on `cuda:N`, and are held to it.

    with EmulatedGpus({0: 24 * 10**9}) as gpus:
        ...                      # torch.cuda.* says that there is a card; tensors are moved and computed as on one
    gpus.copies, gpus.cards[0].peak

`kind="mps"` makes it a Mac's: `mps:0`, without float64, and with no class of error for lack of memory.

What a card would refuse is refused: operands on different devices, more bytes than it has (torch.OutOfMemoryError),
NumPy arrays over its memory. Copies between devices are counted. bfloat16 may be made to give NaN. To C++ the tensors
lie on `meta:N`, for which every build of torch has what autograd needs; only Python is told of cuda. Libraries decide
by `torch.cuda`, which is patched meanwhile.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

aten = torch.ops.aten
ACROSS = {aten.copy_.default, aten._to_copy.default}
"""Operations that may see two devices."""
# CPU tensors among those of a card: as in CUDA, indices and numbers.
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_SDPA = torch.nn.functional.scaled_dot_product_attention


@dataclass
class Card:
    """One card: its bytes, and what was seen of them."""

    budget: int
    capability: tuple[int, int] = (8, 0)
    kind: str = "cuda"
    held: int = 0
    peak: int = 0
    refused: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    def take(self, size: int) -> None:
        if self.held + size > self.budget:
            self.refused += 1
            if self.kind == "mps":
                raise RuntimeError(f"MPS backend out of memory (max allowed: {self.budget}). Tried to allocate {size}")
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size} bytes; {self.held} of {self.budget} are held"
            )
        self.held += size
        self.peak = max(self.peak, self.held)


class Claim:
    """Bytes of a card, given back when the last tensor over them is gone."""

    def __init__(self, card: Card, size: int) -> None:
        card.take(size)
        self.card, self.size = card, size

    def __del__(self) -> None:
        if hasattr(self, "card"):
            self.card.held -= self.size


class EmulatedTensor(Tensor):
    """A tensor of a card, over `inner` in this machine's memory."""

    inner: Tensor
    claim: Claim
    number: int
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor, number: int, claim: Claim) -> EmulatedTensor:
        with torch.inference_mode(False):  # or views of what was made outside it would have no version to share
            wrapper = Tensor._make_wrapper_subclass(
                cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
                layout=inner.layout, device=torch.device("meta", number),
            )  # fmt: skip
        wrapper.inner, wrapper.number, wrapper.claim = inner, number, claim
        return wrapper

    def __tensor_flatten__(self) -> tuple[list[str], tuple[int, Claim]]:
        return ["inner"], (self.number, self.claim)

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: Any, size: Any, stride: Any) -> EmulatedTensor:
        return EmulatedTensor(inner["inner"], *context)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpus = EmulatedGpus.current
        assert gpus, "a tensor of an emulated card outlived its emulation"
        return gpus.run(function, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"EmulatedTensor({tuple(self.shape)}, {self.dtype}, {self.device})"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(self.claim.card.kind, self.number)

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self.device.type == "cuda"

    @property
    def is_mps(self) -> bool:  # type: ignore[override]
        return self.device.type == "mps"

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def get_device(self) -> int:
        return self.number

    def is_pinned(self, device: Any = None) -> bool:
        return False

    def _set_data(self, other: EmulatedTensor) -> None:
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.inner, self.number, self.claim = other.inner, other.number, other.claim

    data = property(lambda self: self.detach(), _set_data)  # type: ignore[assignment]


class EmulatedGpus:
    """Cards by their number: bytes of each. capability: of all. nan: float types that give NaN in products.

    kind: "mps" for one card that is Apple's, without float64. macos: its system; before 14 it has no bfloat16.
    """

    current: EmulatedGpus | None = None

    def __init__(
        self,
        budgets: dict[int, int],
        *,
        capability: tuple[int, int] = (8, 0),
        nan: Iterable[torch.dtype] = (),
        meta: bool = False,
        kind: str = "cuda",
        macos: int = 15,
    ) -> None:
        self.cards = {number: Card(budget, capability, kind) for number, budget in budgets.items()}
        self.kind, self.macos = kind, macos
        self.absent = {torch.float64} if kind == "mps" else set()
        if kind == "mps" and macos < 14:
            self.absent.add(torch.bfloat16)
        self.nan, self.meta = set(nan), meta
        self.copies: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.locked = 0
        self._stack = ExitStack()

    def __enter__(self) -> EmulatedGpus:
        EmulatedGpus.current = self
        cuda = {
            "is_available": lambda: True,
            "device_count": lambda: len(self.cards),
            "current_device": lambda: 0,
            "mem_get_info": self._measure_memory,
            "get_device_capability": lambda device=None: self.cards[_number(device)].capability,
            "get_device_name": lambda device=None: f"emulated {_number(device)}",
            "get_device_properties": self._describe,
            "is_bf16_supported": lambda *_, **__: self.cards[0].capability >= (8, 0),
            "empty_cache": lambda: None,
            "synchronize": lambda device=None: None,
            "set_device": lambda device: None,
            "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
            "set_rng_state": lambda state, device=None: None,
            "get_rng_state_all": lambda: [torch.zeros(16, dtype=torch.uint8) for _ in self.cards],
            "set_rng_state_all": lambda states: None,
            "manual_seed_all": lambda seed: None,
            "max_memory_allocated": lambda device=None: self.cards[_number(device)].peak,
            "memory_allocated": lambda device=None: self.cards[_number(device)].held,
            "reset_peak_memory_stats": lambda device=None: self.reset_peaks(),
            "_lazy_init": lambda: None,
            "is_initialized": lambda: True,
        }
        mps = {
            "is_available": lambda: True,
            "is_built": lambda: True,
            "is_macos_or_newer": lambda major, minor: (self.macos, 0) >= (major, minor),
        }
        for name, value in mps.items() if self.kind == "mps" else ():
            self._stack.enter_context(mock.patch.object(torch.backends.mps, name, value))
        if self.kind == "mps":
            self._stack.enter_context(mock.patch.multiple(torch.mps, empty_cache=mock.Mock(), synchronize=mock.Mock()))
            self._stack.enter_context(mock.patch.object(torch, "Event"))  # all that is queued here is done at once
        for name, value in cuda.items() if self.kind == "cuda" else ():
            self._stack.enter_context(mock.patch.object(torch.cuda, name, value))
            if "rng_state" in name or name == "manual_seed_all":
                self._stack.enter_context(mock.patch.object(torch.cuda.random, name, value))
        self._stack.enter_context(mock.patch.object(threading.Thread, "run", self._in_threads(threading.Thread.run)))
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)  # tied weights stay tied when modules move
        self._stack.callback(torch.__future__.set_swap_module_params_on_conversion, before)
        self._stack.enter_context(_Functions(self))
        self._stack.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def reset_peaks(self) -> None:
        for card in self.cards.values():
            card.peak = card.held

    def _measure_memory(self, device: Any = None) -> tuple[int, int]:
        card = self.cards[_number(device)]
        return card.budget - card.held, card.budget

    def _describe(self, device: Any = None) -> Any:
        card = self.cards[_number(device)]
        return mock.Mock(
            total_memory=card.budget, major=card.capability[0], minor=card.capability[1], multi_processor_count=1,
        )  # fmt: skip

    def _in_threads(self, run: Any) -> Any:
        """The modes of torch belong to a thread: a new one gets them too."""

        def run_inside(thread: threading.Thread) -> None:
            if EmulatedGpus.current is not self:
                return run(thread)
            with _Functions(self), _Operations(self):
                return run(thread)

        return run_inside

    def run(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation on the memory under its tensors; its results lie where they would lie."""
        if function is aten._has_compatible_shallow_copy_type.default:
            return len({isinstance(operand, EmulatedTensor) for operand in args}) == 1
        if function in _MOVES:  # in inference mode torch leaves it to us what they consist of
            with _Operations(self):
                return function.decompose(*args, **kwargs)
        operands: list[Tensor] = []
        tree_map(lambda leaf: operands.append(leaf) if isinstance(leaf, Tensor) else None, (args, kwargs))
        cards = {operand.number for operand in operands if isinstance(operand, EmulatedTensor)}
        target = kwargs.get("device")
        if target is not None:
            kwargs = {**kwargs, "device": torch.device("meta" if self.meta else "cpu")}
        if target is not None:
            target = torch.device(target)
            number = (
                _number(target)
                if target.type == self.kind or (target.type == "meta" and target.index is not None)
                else None
            )
            if number is None:
                kwargs["device"] = target
        else:
            number = min(cards, default=None)
        self._check(function, operands, cards, number)
        if function in ACROSS:
            self._count(function, operands, number)
        plain_args, plain_kwargs = tree_map(_unwrap, (args, kwargs))
        function_here = _LONG_SUMS.get(function, function)
        results = function_here(*plain_args, **plain_kwargs)
        if number is None and not cards:
            return results
        if number is None:  # to this machine's memory
            return results
        self.cards[number].calls[str(function)] += 1
        wrapped = tree_map(lambda leaf: self._wrap(leaf, number, operands), results)
        if self.nan and function in _PRODUCTS and wrapped.dtype in self.nan:
            wrapped.inner.fill_(float("nan"))
        if function is aten.copy_.default:
            return args[0]
        return return_and_correct_aliasing(function, args, kwargs, wrapped)

    def _wrap(self, leaf: Any, number: int, operands: list[Tensor]) -> Any:
        if not isinstance(leaf, Tensor) or isinstance(leaf, EmulatedTensor):
            return leaf
        for operand in operands:
            if isinstance(operand, EmulatedTensor) and operand.number == number and _is_over(leaf, operand.inner):
                return EmulatedTensor(leaf, number, operand.claim)
        if leaf.dtype in self.absent:
            raise TypeError(f"this emulated card of Apple's (macOS {self.macos}) has no {leaf.dtype}")
        return EmulatedTensor(leaf, number, Claim(self.cards[number], leaf.untyped_storage().nbytes()))

    def _check(self, function: Any, operands: list[Tensor], cards: set[int], number: int | None) -> None:
        if function in ACROSS or not cards:
            return
        strangers = [
            operand for operand in operands
            if not isinstance(operand, EmulatedTensor) and operand.dim() > 0
            and not (function in INDEXED and operand.dtype in (torch.int64, torch.bool))
        ]  # fmt: skip
        if len(cards) > 1 or strangers:
            places = sorted({str(operand.device) for operand in operands})
            raise RuntimeError(f"Expected all tensors to be on the same device, but got {places} in {function}")

    def _count(self, function: Any, operands: list[Tensor], number: int | None) -> None:
        *_, source = operands[:2]
        if function is aten.copy_.default:
            target = operands[0]
            number = target.number if isinstance(target, EmulatedTensor) else None
        origin = source.number if isinstance(source, EmulatedTensor) else None
        if origin == number:
            return
        if origin is None and source.device.type == "meta" and not self.meta:
            return
        names = ["host" if place is None else f"{self.kind}:{place}" for place in (origin, number)]
        way = " to ".join(names)
        self.copies[way] += 1
        self.bytes[way] += source.numel() * source.element_size()


class _Operations(TorchDispatchMode):
    """Hands every operation to the cards, those without an operand on a card, too."""

    def __init__(self, gpus: EmulatedGpus) -> None:
        super().__init__()
        self.gpus = gpus

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.gpus.run(function, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Says `meta:N` to C++ wherever a caller says `cuda:N`."""

    def __init__(self, gpus: EmulatedGpus) -> None:
        super().__init__()
        self.gpus = gpus

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in _CAST and torch.is_autocast_enabled("cuda"):
            args, kwargs = tree_map(_shorten, (args, kwargs))
        if function is _SDPA and not args:
            args = tuple(kwargs.pop(name) for name in ("query", "key", "value"))
        if function is _SDPA and not torch.is_grad_enabled() and isinstance(args[0], EmulatedTensor):
            return self._attend(*args, **kwargs)
        if function is Tensor.__getitem__ and isinstance(args[1], list):  # whose numbers C++ would lay out on the card
            args = (args[0], torch.tensor(args[1]))
        if function is Tensor.cuda:
            return args[0].to(torch.device("meta", _number(args[1] if len(args) > 1 else kwargs.get("device"))))
        if function in (Tensor.backward, torch.autograd.backward):  # whose recomputations are calls like any other
            return self._go_back(*args, **kwargs)
        if function in (torch.tensor, torch.as_tensor, torch.asarray) and "device" in kwargs:
            # From numbers: they are laid out here and copied, below what dispatch sees.
            device = kwargs.pop("device")
            values = tree_map(lambda leaf: leaf.cpu() if isinstance(leaf, EmulatedTensor) else leaf, args)
            laid_out = function(*values, **kwargs)
            return laid_out if device is None else laid_out.to(_translate(device))
        if kwargs.pop("pin_memory", False):
            locked = function(*args, **kwargs)
            self.gpus.locked += locked.nbytes
            return locked
        if function in (Tensor.to, torch._C._nn._parse_to) or "device" in kwargs:
            args = tuple(_translate(arg) for arg in args)
            kwargs = {key: _translate(value) if key == "device" else value for key, value in kwargs.items()}
            result = function(*args, **kwargs)
            if function is torch._C._nn._parse_to and result[0] is not None and result[0].type == "meta":
                return (torch.device(self.gpus.kind, result[0].index), *result[1:])
            return result
        return function(*args, **kwargs)

    def _go_back(
        self, tensors: Any, grads: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None,
        **names: Any,
    ) -> None:  # fmt: skip
        grads = names.get("gradient", names.get("grad_tensors", grads))
        (tensor,) = tensors if isinstance(tensors, list | tuple) else [tensors]
        grad = torch.ones_like(tensor) if grads is None else grads
        with _Functions(self.gpus):
            torch.autograd.graph._engine_run_backward(
                (tensor,), (grad,), bool(retain_graph or create_graph), create_graph, tuple(inputs or ()),
                allow_unreachable=True, accumulate_grad=True,
            )  # fmt: skip

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        """Attention as a fused kernel computes it: no matrix of scores in the card's memory."""
        operands: list[Tensor] = []
        tree_map(lambda leaf: operands.append(leaf) if isinstance(leaf, Tensor) else None, (args, kwargs))
        self.gpus._check(_SDPA, operands, {x.number for x in operands if isinstance(x, EmulatedTensor)}, 0)
        plain, options = tree_map(_unwrap, (args, kwargs))
        with torch._C.DisableTorchFunction():
            result = _SDPA(*plain, **options)
        return self.gpus._wrap(result, args[0].number, [])


def _add_product(
    acc: Tensor, a: Tensor, b: Tensor, dtype: torch.dtype, *, beta: Any = 1, alpha: Any = 1, out: Tensor
) -> Tensor:
    return out.copy_(torch.addmm(acc.to(dtype), a.to(dtype), b.to(dtype), beta=beta, alpha=alpha))


_LONG_SUMS = {aten.addmm.dtype_out: _add_product}
"""Products of short numbers with long sums, which CUDA has and a CPU does not."""
_MOVES = {getattr(aten.to, name) for name in aten.to.overloads()}
_PRODUCTS = {
    aten.mm.default, aten.addmm.default, aten.bmm.default, aten.convolution.default,
    aten.linear.default, aten.matmul.default, aten.conv2d.default,  # whole in inference mode
}  # fmt: skip


_CAST = {
    torch.nn.functional.linear, torch.nn.functional.conv2d, torch.matmul, torch.bmm, torch.mm, torch.baddbmm,
    Tensor.matmul, Tensor.__matmul__, Tensor.bmm, _SDPA,
}  # fmt: skip
"""What autocast computes in the short type; dispatch comes below it and does not see it."""


def _shorten(leaf: Any) -> Any:
    is_long = isinstance(leaf, EmulatedTensor) and leaf.dtype == torch.float32
    return leaf.to(torch.get_autocast_dtype("cuda")) if is_long else leaf


def tree_map(change: Any, tree: Any) -> Any:
    """Change every leaf of nested lists, tuples and dicts; torch's own is ten times slower."""
    if isinstance(tree, list | tuple):
        leaves = [tree_map(change, inner) for inner in tree]
        return leaves if type(tree) is list else tuple(leaves)
    if type(tree) is dict:
        return {key: tree_map(change, inner) for key, inner in tree.items()}
    return change(tree)


def _unwrap(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, EmulatedTensor) else leaf


def _is_over(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage()._cdata == other.untyped_storage()._cdata


def _number(device: Any) -> int:
    if device is None:
        return 0
    if isinstance(device, int):
        return device
    return torch.device(device).index or 0


def _translate(value: Any) -> Any:
    """Say meta:N for the cards' own device; everything else stays."""
    kind = EmulatedGpus.current.kind if EmulatedGpus.current else "cuda"
    if isinstance(value, torch.device) and value.type == kind:
        return torch.device("meta", value.index or 0)
    if isinstance(value, str) and re.fullmatch(rf"{kind}(:\d+)?", value):
        return torch.device("meta", _number(value))
    return value
