"""Let backbone and prompter live in a process of their own, which may be killed without the server.

A system without memory kills the largest process: that is the one with the weights. What it was asked is then an
error; it is started again by what it is asked next.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from chain_of_zoom import errors
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.nodes import BuildChain, SharedPlaces
from chain_of_zoom.cluster.pool import open_pool
from chain_of_zoom.cluster.working import WorkingChain
from chain_of_zoom.errors import BackboneError, ChainOfZoomError
from chain_of_zoom.explorer.logbook import log_event

KILLED = 9
"""The signal of a system that needs memory; Windows has no name for it."""
PATIENCE = 5.0
"""Seconds that a process has to end by itself."""


class TileWorker:
    """A process with a chain of its own, which does one task at a time. Ask it from any thread."""

    lanes = 1

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


def open_worker(build: BuildChain) -> WorkingChain:
    """Make a chain that works in a process of its own."""
    return WorkingChain(build, TileWorker(build))


def open_far_chain(build: BuildChain, crew: Crew) -> WorkingChain:
    """Make a chain that works on a cluster, where workers come and go with what is wanted.

    Raises what `open_pool` raises.
    """
    return WorkingChain(build, open_pool(build, crew, SharedPlaces(), least=1))
