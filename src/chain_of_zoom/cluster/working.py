"""A chain whose backbone and prompter work elsewhere: in a process of its own, or on the machines of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.base import Backbone, WindowPlace
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.nodes import BuildChain, SharedPlaces
from chain_of_zoom.cluster.pool import open_pool
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.prompters.base import PromptContext, Prompter


class ChainHost(Protocol):
    """Has a chain of its own, or several, somewhere, and does tasks with it. Ask it from any thread."""

    @property
    def lanes(self) -> int:
        """How many tasks it does at a time."""

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function of a module done there, with the chain before its arguments, and return what it returns.

        Raises its errors, and BackboneError where whoever did it died.
        """

    def close(self) -> None:
        """End it, in the middle of a task, too: that is an error for whoever asked."""


class LoadedFacts(NamedTuple):
    """What is known once the weights are read."""

    device: str | None
    """Where the backbone runs; None where it has no choice."""
    weights_sha256: str | None
    """SHA-256 of the weights of the backbone; None where it has none."""
    prompter_sha256: dict[str, str]
    """SHA-256 of the weight files of the prompter, by role."""
    placement: dict[str, str]
    """Where the networks lie and in which precision."""


def load_chain(chain: ChainOfZoom, words: bool) -> LoadedFacts:
    """Read the weights of the backbone and, for `words`, of the prompter."""
    chain.load(words=words)
    hashes = chain.prompter.weights_sha256() if words else {}
    return LoadedFacts(chain.backbone.runs_on(), chain.backbone_record.weights_sha256, hashes, chain.placement)


def enlarge(chain: ChainOfZoom, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
    """Enlarge windows."""
    chain.load(words=False)
    return chain.backbone(windows, prompts, seeds)


def write_words(chain: ChainOfZoom, contexts: Sequence[PromptContext]) -> tuple[list[str], list[str]]:
    """Ask the prompter; return its texts and its notes."""
    chain.load()
    return chain.prompter(contexts), chain.prompter.fallbacks()


class WorkerBackbone(Backbone):
    """The backbone of a worker."""

    def __init__(self, host: ChainHost, chain: WorkingChain, original: Backbone) -> None:
        super().__init__()
        self.original = original
        self.info = original.info
        self.package = original.package
        self._host = host
        self._chain = chain

    @property
    def lanes(self) -> int:
        """How many tasks its host does at a time."""
        return self._host.lanes

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a task done there, as its host does it."""
        return self._host.ask(task, *arguments)

    def missing(self) -> str | None:
        """Return the pip command when something is not installed here."""
        return self.original.missing()

    def uses(self, prompt: str, place: WindowPlace, window: RGB8 | None = None) -> bool:
        """Whether a prompt changes the result for a window at this place; without the window, whether it may."""
        return self.original.uses(prompt, place, window)

    def _add_detail(self, window: RGB8, result: RGBF, prompt: str, place: WindowPlace) -> RGBF:
        return self.original._add_detail(window, result, prompt, place)  # here, since the host learns of no place

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 of the weights; reads them."""
        return self._chain.read_facts(words=False).weights_sha256

    def runs_on(self) -> str | None:
        """Return the device; reads the weights."""
        return self._chain.read_facts(words=False).device

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        enlarged: list[RGBF] = self._host.ask(enlarge, windows, prompts, seeds)
        return enlarged


class WorkerPrompter(Prompter):
    """The prompter of a worker."""

    def __init__(self, host: ChainHost, chain: WorkingChain, original: Prompter) -> None:
        self.name = original.name
        self.looks = original.looks
        self.package = original.package
        self._host = host
        self._chain = chain
        self._local = threading.local()

    def weights_sha256(self) -> dict[str, str]:
        """Return the SHA-256 of every weight file by its role; reads them."""
        return self._chain.read_facts(words=True).prompter_sha256

    def fallbacks(self) -> list[str]:
        """Return notes on what did not go the plain way in the last call of this thread."""
        notes: list[str] = getattr(self._local, "notes", [])
        return notes

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return one text per context."""
        texts: list[str]
        texts, self._local.notes = self._host.ask(write_words, contexts)
        return texts


class WorkingChain(ChainOfZoom):
    """A chain whose backbone and prompter work at a host; `close` ends that."""

    def __init__(self, build: BuildChain, host: ChainHost) -> None:
        """Make the chain here, without weights; the host makes its own with the same `build`, once it is asked."""
        original = build()
        self.host = host
        super().__init__(WorkerBackbone(host, self, original.backbone), WorkerPrompter(host, self, original.prompter))
        self.options = original.options
        self.reading = original.reading
        self._facts: dict[bool, LoadedFacts] = {}

    @property
    def lanes(self) -> int:
        """How many tasks `ask` does at a time."""
        return self.host.lanes

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function of a module done there, with the chain of the host before its arguments."""
        return self.host.ask(task, *arguments)

    def load(self, *, words: bool = True) -> None:
        """Have the weights read there. Raises MissingError."""
        self.read_facts(words=words)

    def read_facts(self, *, words: bool) -> LoadedFacts:
        """Return what is known once the weights are read, of the prompter, too, for `words`; asks once."""
        if words not in self._facts:
            self._facts[words] = self.host.ask(load_chain, words)
        return self._facts[words]

    @property
    def placement(self) -> dict[str, str]:
        """Where the networks lie and in which precision, once they are read."""
        return self._facts[max(self._facts)].placement if self._facts else {}

    def close(self) -> None:
        """End the host."""
        self.host.close()


@contextmanager
def open_chain(
    build: BuildChain,
    crew: Crew,
    places: SharedPlaces | None = None,
    *,
    most: int | None = None,
    least: int | None = None,
) -> Iterator[WorkingChain]:
    """Open a chain on a cluster for the time of the block. places: what every node has to see.

    most, least: workers. Raises what `open_pool` raises.
    """
    chain = WorkingChain(build, open_pool(build, crew, places or SharedPlaces(), most=most, least=least))
    try:
        yield chain
    finally:
        chain.close()
