"""Let backbone and prompter live in a process of their own, which may be killed without the server.

A system without memory kills the largest process: that is the one with the weights. What it was asked is then an
error; it is started again by what it is asked next.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from chain_of_zoom import errors
from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.backbones.base import Backbone
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.explorer.logbook import log_event
from chain_of_zoom.explorer.painting import TileJob, paint_tile
from chain_of_zoom.imaging.images import RGB8, RGBF
from chain_of_zoom.prompters.base import PromptContext, Prompter

BuildChain = Callable[[], ChainOfZoom]
KILLED = 9
"""The signal of a system that needs memory; Windows has no name for it."""
PATIENCE = 5.0
"""Seconds that a process has to end by itself."""


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


def paint(chain: ChainOfZoom, job: TileJob) -> bytes:
    """Paint a tile."""
    chain.load(words=False)
    return paint_tile(chain.backbone, job)


def enlarge(chain: ChainOfZoom, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
    """Enlarge windows."""
    chain.load(words=False)
    return chain.backbone(windows, prompts, seeds)


def write_words(chain: ChainOfZoom, contexts: Sequence[PromptContext]) -> tuple[list[str], list[str]]:
    """Ask the prompter; return its texts and its notes."""
    chain.load()
    return chain.prompter(contexts), chain.prompter.fallbacks()


class TileWorker:
    """A process with a chain of its own, which does one task at a time. Ask it from any thread."""

    def __init__(self, build: BuildChain) -> None:
        """Start nothing yet. build: makes the chain there; it has to survive pickling."""
        self._build = build
        self._lock = threading.Lock()
        self._is_closed = False
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Have a function of a module done there, with the chain before its arguments, and return what it returns.

        Raises its errors, and BackboneError where the process was killed meanwhile.
        """
        with self._lock:
            if self._process and not self._process.is_alive():  # it was killed while it had nothing to do
                self._bury()
            if self._is_closed:
                raise BackboneError("no more tiles are made: the server stops")
            pipe = self._pipe or self._start()
            try:
                pipe.send((task, arguments))
                is_done, value = pipe.recv()
            except (EOFError, OSError) as error:
                raise BackboneError(self._bury()) from error
        if is_done:
            return value
        name, message = value
        raise getattr(errors, name, BackboneError)(message)

    @property
    def pid(self) -> int | None:
        """The number of the process; None where there is none."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process for good, in the middle of a task, too: that is an error for whoever asked."""
        self._is_closed = True
        process = self._process
        if process:
            process.kill()
        with self._lock:
            if self._process:
                self._bury()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")  # a fork of threads that hold locks would wait for ever
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_work, args=(there, self._build), name="tiles", daemon=True)
        self._process.start()
        there.close()
        log_event("worker", pid=self._process.pid)
        return self._pipe

    def _bury(self) -> str:
        """Let go of the process, which ends when its pipe does; say how it ended."""
        assert self._process
        assert self._pipe
        self._pipe.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._process = self._pipe = None
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        why = ", as a system without memory does" if code == -KILLED else ""
        return (
            f"the process that makes tiles {how}{why}; accepted: a backbone that fits into memory; "
            "close other programs, or choose another --backbone"
        )


def _work(pipe: Connection, build: BuildChain) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    chain = None
    while True:
        try:
            task, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            chain = chain or build()
            answer = True, task(chain, *arguments)
        except ChainOfZoomError as error:
            answer = False, (type(error).__name__, str(error))
        except Exception as error:
            answer = False, ("", f"{type(error).__name__}: {error}")
        pipe.send(answer)


class WorkerBackbone(Backbone):
    """The backbone of a worker."""

    def __init__(self, worker: TileWorker, chain: WorkingChain, original: Backbone) -> None:
        super().__init__()
        self.original = original
        self.info = original.info
        self.package = original.package
        self.missing = original.missing  # type: ignore[method-assign]
        self.uses = original.uses  # type: ignore[method-assign]
        self._add_detail = original._add_detail  # type: ignore[method-assign]
        self._worker = worker
        self._chain = chain

    def paint(self, job: TileJob) -> bytes:
        """Paint a tile there, from where only its file comes back."""
        data: bytes = self._worker.ask(paint, job)
        return data

    def weights_sha256(self) -> str | None:
        """Return the SHA-256 of the weights; reads them."""
        return self._chain.read_facts(words=False).weights_sha256

    def runs_on(self) -> str | None:
        """Return the device; reads the weights."""
        return self._chain.read_facts(words=False).device

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        enlarged: list[RGBF] = self._worker.ask(enlarge, windows, prompts, seeds)
        return enlarged


class WorkerPrompter(Prompter):
    """The prompter of a worker."""

    def __init__(self, worker: TileWorker, chain: WorkingChain, original: Prompter) -> None:
        self.name = original.name
        self.looks = original.looks
        self.package = original.package
        self._worker = worker
        self._chain = chain
        self._notes: list[str] = []

    def weights_sha256(self) -> dict[str, str]:
        """Return the SHA-256 of every weight file by its role; reads them."""
        return self._chain.read_facts(words=True).prompter_sha256

    def fallbacks(self) -> list[str]:
        """Return notes on what did not go the plain way in the last call."""
        return self._notes

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        """Return one text per context."""
        texts: list[str]
        texts, self._notes = self._worker.ask(write_words, contexts)
        return texts


class WorkingChain(ChainOfZoom):
    """A chain whose backbone and prompter live in a worker; `close` ends it."""

    def __init__(self, build: BuildChain) -> None:
        """Make the chain here, without weights, and there once it is asked. build: as for `TileWorker`."""
        original = build()
        self.worker = TileWorker(build)
        super().__init__(
            WorkerBackbone(self.worker, self, original.backbone), WorkerPrompter(self.worker, self, original.prompter)
        )
        self.options = original.options
        self.reading = original.reading
        self._facts: dict[bool, LoadedFacts] = {}

    def load(self, *, words: bool = True) -> None:
        """Have the weights read there. Raises MissingError."""
        self.read_facts(words=words)

    def read_facts(self, *, words: bool) -> LoadedFacts:
        """Return what is known once the weights are read, of the prompter, too, for `words`; asks once."""
        if words not in self._facts:
            self._facts[words] = self.worker.ask(load_chain, words)
        return self._facts[words]

    @property
    def placement(self) -> dict[str, str]:
        """Where the networks lie and in which precision, once they are read."""
        return self._facts[max(self._facts)].placement if self._facts else {}

    def close(self) -> None:
        """End the process."""
        self.worker.close()
