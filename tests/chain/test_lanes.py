from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest
from conftest import noise

from chain_of_zoom.backbones.fake import Fake
from chain_of_zoom.chain.engine import Engine
from chain_of_zoom.chain.enlargement import ZoomJob
from chain_of_zoom.chain.lanes import run_in_lanes
from chain_of_zoom.chain.request import ZoomRequest, plan
from chain_of_zoom.prompters.base import Prompter


class Words(Prompter):
    """Says which picture it saw, and notes that it works."""

    name = "words"

    def __init__(self) -> None:
        self.busy, self.seen = threading.Event(), threading.Event()

    def __call__(self, contexts):
        self.busy.set()
        texts = [f"{context.zoomed.mean():.3f}" for context in contexts]
        self.seen.wait(0.2)
        self.busy.clear()
        return texts


class Overlapping(Fake):
    """Notes whether the prompter works at the same time."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self.words, self.overlaps, self.turn = words, 0, threading.Lock()

    def _enlarge(self, windows, prompts, seeds):
        assert self.turn.acquire(blocking=False), "one at a time"
        if self.words.busy.wait(0.1):
            self.overlaps += 1
            self.words.seen.set()
        made = super()._enlarge(windows, prompts, seeds)
        self.words.seen.clear()
        self.turn.release()
        return made


def jobs(count: int) -> list[ZoomJob]:
    made = []
    for number in range(count):
        picture = noise(32, 48, number)
        _, output, steps = plan(ZoomRequest(zoom=16.0 + number, size=(24, 16)), picture, 4, resampled=False)
        made.append(ZoomJob(picture=picture, steps=steps, output=output, seed=number))
    assert Fraction(made[0].steps[-1].magnification) == 16
    return made


def test_lanes_make_the_same_states_and_prompt_while_the_other_enlarges():
    expected: dict[int, list] = {}
    for index, state in Engine(Fake(), Words()).run(jobs(3)):
        expected.setdefault(index, []).append(state)
    words = Words()
    backbone = Overlapping(words)
    made: dict[int, list] = {}
    for index, state in run_in_lanes(Engine(backbone, words), jobs(3), 2):
        made.setdefault(index, []).append(state)
    assert made.keys() == expected.keys()
    for index, states in expected.items():
        for ours, theirs in zip(made[index], states, strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)
            assert ours.prompt == theirs.prompt
    assert backbone.overlaps >= 1


def test_an_error_in_a_lane_is_the_callers_and_leaves_no_thread():
    class Broken(Fake):
        def _enlarge(self, windows, prompts, seeds):
            if seeds[0] >= 2:
                raise RuntimeError("out of nerves")
            return super()._enlarge(windows, prompts, seeds)

    threads = threading.active_count()
    with pytest.raises(Exception, match="out of nerves"):
        list(run_in_lanes(Engine(Broken(), Words()), jobs(4), 2))
    assert threading.active_count() == threads
    lanes = run_in_lanes(Engine(Fake(), Words()), jobs(4), 2)
    next(lanes)
    lanes.close()
    assert threading.active_count() == threads
