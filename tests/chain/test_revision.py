"""Going through a run again: candidates of a state, and texts edited in the record."""

from __future__ import annotations

import json
import shutil

import msgspec
import numpy as np
import pytest
from conftest import PHOTO
from PIL import Image

from chain_of_zoom import ChainOfZoom, UsageError, zoom
from chain_of_zoom.backbones.base import Backbone, BackboneInfo
from chain_of_zoom.chain import folder as folders
from chain_of_zoom.chain import sheet
from chain_of_zoom.chain.record import Record
from chain_of_zoom.chain.revision import edited_prompts
from chain_of_zoom.imaging.images import enlarge
from chain_of_zoom.imaging.orientation import TURNS, turn_back, turn_pixels
from chain_of_zoom.prompters.base import Prompter

# States 0 to 2 are measured (1x, 4x, 8x), 3 and 4 generated (32x, 100x).
SETTINGS = {"size": (64, 48), "at": (0.42, 0.22), "magnification": 100}
FAKE = {**SETTINGS, "backbone": "fake"}
STEP = 3


@pytest.fixture(autouse=True)
def plain_sheets(monkeypatch):
    """Sheets are drawn elsewhere; here they would take most of the time."""
    monkeypatch.setattr(sheet, "draw_sheet", lambda heading, panels, legend: np.concatenate([p.image for p in panels]))


class Random(Backbone):
    """Grain that follows the seed."""

    info = BackboneInfo(name="random", summary="", factor=4, text_aware=False, licence="", seeded=True)

    def _enlarge(self, windows, prompts, seeds):
        return [self._one(window, seed) for window, seed in zip(windows, seeds, strict=True)]

    def _one(self, window, seed):
        made = enlarge(window, 4).astype(np.float32) / 255
        return made + np.random.default_rng(seed).normal(0, 0.02, made.shape).astype(np.float32)


class Blocks(Backbone):
    """Every pixel four times as large, however the window is turned."""

    info = BackboneInfo(name="blocks", summary="", factor=4, text_aware=False, licence="")

    def _enlarge(self, windows, prompts, seeds):
        return [np.repeat(np.repeat(w, 4, 0), 4, 1).astype(np.float32) / 255 for w in windows]


class Counter(Prompter):
    """Says how often it was asked."""

    name = "counter"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, contexts):
        self.asked += len(contexts)
        return [f"words at {context.magnification:g}, words at {context.magnification:g}" for context in contexts]


def contents(path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != "record.json"}


def states(path) -> list[bytes]:
    return [(path / entry.file).read_bytes() for entry in record(path).states]


def record(path) -> Record:
    return Record.from_json((path / "record.json").read_bytes())


def timeless(path) -> dict:
    """The record without what no two runs share."""
    data = json.loads((path / "record.json").read_bytes())
    for entry in (*data["states"], *(entry for each in data["candidates"] for entry in each["states"])):
        entry["seconds"] = 0
    return data


def edit(path, step: int, **changes: object) -> None:
    data = json.loads((path / "record.json").read_bytes())
    data["states"][step].update(changes)
    (path / "record.json").write_text(json.dumps(data))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["fake", Random(), "animevideo"])
def test_a_run_stops_for_candidates_and_goes_on_with_the_one_taken(tmp_path, backbone):
    here, settings = tmp_path / "a", {**SETTINGS, "backbone": backbone}
    plain = zoom(PHOTO, **settings)
    stopped = zoom(PHOTO, **settings, candidates=3, out=here)
    assert len(stopped.states) == STEP == len(record(here).states)
    assert not record(here).complete
    assert sorted(contents(here)) == [
        "00_1x.png", "01_4x.png", "02_8x.png", "candidate_03_1.png", "candidate_03_2.png", "candidate_03_3.png",
        "candidates_03.png",
    ]  # fmt: skip
    np.testing.assert_array_equal(stopped.candidates[0].image, plain.states[STEP].image)
    assert len({state.image.tobytes() for state in stopped.candidates}) == 3

    taken = zoom(PHOTO, **settings, resume_from=STEP, candidate=2, out=here)
    np.testing.assert_array_equal(taken.states[STEP].image, stopped.candidates[1].image)
    assert not np.array_equal(taken.states[4].image, plain.states[4].image), "the rest follows from it"
    entry = record(here).states[STEP]
    assert entry.variant == stopped.candidates[1].variant
    with Image.open(here / entry.file) as image:
        assert str(entry.variant) in image.info["Description"]
    assert record(here).complete
    jsonschema_valid(here)

    again = tmp_path / "again"
    zoom(PHOTO, **settings, candidates=3, out=again)
    zoom(PHOTO, **settings, resume_from=STEP, candidate=2, out=again)
    assert contents(again) == contents(here)
    assert timeless(again) == timeless(here)


def jsonschema_valid(path) -> None:
    import jsonschema

    from chain_of_zoom.chain.record import SCHEMA

    jsonschema.validate(json.loads((path / "record.json").read_bytes()), json.loads(SCHEMA.read_bytes()))


@pytest.mark.slow
def test_seeds_make_candidates_where_a_backbone_uses_them_else_ways_to_turn(tmp_path):
    made = zoom(PHOTO, **FAKE, candidates=3, out=tmp_path / "a").candidates
    assert [(state.variant.seed, state.variant.turn) for state in made] == [(3, "none"), (1003, "none"), (2003, "none")]
    made = zoom(PHOTO, **SETTINGS, backbone="animevideo", candidates=8, out=tmp_path / "b").candidates
    assert [(state.variant.seed, state.variant.turn) for state in made] == [(3, turn) for turn in TURNS]
    assert len({state.image.tobytes() for state in made}) == 8


def test_turned_windows_are_turned_back(astronaut):
    window = astronaut[100:148, 200:264]
    for turn in TURNS:
        np.testing.assert_array_equal(turn_back(turn_pixels(window, turn), turn), window)
    assert len({turn_pixels(window[:48, :48], turn).tobytes() for turn in TURNS}) == 8


def test_candidates_that_are_the_same_are_offered_once(tmp_path):
    zoom(PHOTO, **SETTINGS, backbone=Blocks(), candidates=4, out=tmp_path / "a")
    assert [entry.variant.candidate for entry in record(tmp_path / "a").candidates[0].states] == [1]


@pytest.mark.slow
def test_a_candidate_is_the_same_without_its_file(tmp_path):
    for name in "ab":
        zoom(PHOTO, **FAKE, candidates=3, out=tmp_path / name)
    for file in (tmp_path / "b").glob("candidate_*"):
        file.unlink()
    for name in "ab":
        zoom(PHOTO, **FAKE, resume_from=STEP, candidate=3, out=tmp_path / name)
    assert states(tmp_path / "a") == states(tmp_path / "b")


def test_a_plain_run_goes_on_with_what_was_chosen(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, candidates=3, out=here)
    zoom(PHOTO, **FAKE, resume_from=STEP, candidate=2, out=here)
    before, said = contents(here), timeless(here)
    zoom(PHOTO, **FAKE, out=here)
    assert (contents(here), timeless(here)) == (before, said)
    (here / record(here).states[STEP].file).write_bytes(b"damaged")
    zoom(PHOTO, **FAKE, out=here)
    assert (contents(here), timeless(here)) == (before, said)


def test_a_plain_run_after_a_stop_takes_nothing(tmp_path):
    zoom(PHOTO, **FAKE, candidates=3, out=tmp_path / "a")
    zoom(PHOTO, **FAKE, out=tmp_path / "a")
    zoom(PHOTO, **FAKE, out=tmp_path / "plain")
    assert states(tmp_path / "a") == states(tmp_path / "plain")


@pytest.mark.slow
def test_a_complete_run_is_not_touched_by_looking_at_candidates(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, out=here, animate=True)
    before, said = contents(here), record(here)
    result = zoom(PHOTO, **FAKE, out=here, resume_from=4, candidates=2)
    assert len(result.states) == 4
    after = contents(here)
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == ["candidate_04_1.png", "candidate_04_2.png", "candidates_04.png"]
    assert msgspec.structs.replace(record(here), candidates=()) == said


def test_resuming_keeps_the_states_before_to_the_byte(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, out=here)
    before = contents(here)
    times = {p.name: p.stat().st_mtime_ns for p in here.glob("0*.png")}
    zoom(PHOTO, **FAKE, out=here, resume_from=STEP)
    assert contents(here) == before
    touched = {name for name, time in times.items() if (here / name).stat().st_mtime_ns != time}
    assert touched == {"03_32x.png", "04_100x.png"}


@pytest.mark.slow
def test_going_back_further_forgets_what_was_chosen_for_pictures_that_are_no_more(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, out=here)
    zoom(PHOTO, **FAKE, out=here, resume_from=4, candidates=2)
    zoom(PHOTO, **FAKE, out=here, resume_from=4, candidate=2)
    assert [choice.step for choice in record(here).choices] == [4]
    zoom(PHOTO, **FAKE, out=here, resume_from=STEP, candidate=2)
    assert [choice.step for choice in record(here).choices] == [STEP]
    assert record(here).candidates == ()
    assert not list(here.glob("candidate*"))
    zoom(PHOTO, **FAKE, out=here, resume_from=STEP, candidate=1)
    zoom(PHOTO, **FAKE, out=tmp_path / "plain")
    last = "04_100x.png"
    assert (here / last).read_bytes() == (tmp_path / "plain" / last).read_bytes()


@pytest.mark.slow
def test_an_old_animation_does_not_outlive_its_states(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, out=here, animate=True)
    zoom(PHOTO, **FAKE, out=here, resume_from=STEP, candidate=2)
    assert record(here).animation is None
    assert not (here / "zoom.webp").exists()
    zoom(PHOTO, **FAKE, out=here, animate=True)
    whole = (here / "zoom.webp").read_bytes()
    (here / "zoom.webp").unlink()
    zoom(PHOTO, **FAKE, out=here, animate=True)
    assert (here / "zoom.webp").read_bytes() == whole


def words(path) -> list[tuple]:
    return [(entry.prompter, entry.prompt, entry.prompt_raw) for entry in record(path).states[STEP:]]


AT_32 = ("counter", "words at 32, x,", "words at 32, words at 32")
AT_100 = ("counter", "words at 100, x,", "words at 100, words at 100")


@pytest.mark.slow
def test_an_edited_text_is_sent_as_it_is_and_later_ones_are_asked_for_anew(tmp_path):
    here, prompter = tmp_path / "a", Counter()
    settings = {**FAKE, "prompter": prompter, "prompt": "x", "out": here}
    plain = zoom(PHOTO, **settings)
    assert words(here) == [AT_32, AT_100]
    edit(here, STEP, prompt="  my own,  my own ")
    prompter.asked = 0
    edited = zoom(PHOTO, **settings, resume_from=STEP)
    assert prompter.asked == 1
    assert words(here) == [("edited", "  my own,  my own ", None), AT_100]
    assert not np.array_equal(edited.states[STEP].image, plain.states[STEP].image)
    np.testing.assert_array_equal(edited.states[2].image, plain.states[2].image)
    jsonschema_valid(here)
    before = contents(here)
    zoom(PHOTO, **settings)
    (here / "03_32x.png").unlink()
    zoom(PHOTO, **settings)
    assert contents(here) == before, "a plain run keeps to the text"
    edit(here, STEP, prompt="")
    zoom(PHOTO, **settings, resume_from=STEP)
    assert words(here)[0] == ("edited", "", None), "no words are words too"
    edit(here, STEP, prompt=None)
    again = zoom(PHOTO, **settings, resume_from=STEP)
    assert words(here) == [AT_32, AT_100], "null asks the prompter again"
    np.testing.assert_array_equal(again.states[-1].image, plain.states[-1].image)


@pytest.mark.slow
def test_edited_texts_of_later_states_stay(tmp_path):
    here = tmp_path / "a"
    settings = {**FAKE, "prompter": Counter(), "prompt": "x", "out": here}
    zoom(PHOTO, **settings)
    edit(here, 4, prompt="late")
    zoom(PHOTO, **settings, resume_from=4)
    edit(here, STEP, prompt="early")
    zoom(PHOTO, **settings, resume_from=STEP)
    assert words(here) == [("edited", "early", None), ("edited", "late", None)]
    other = tmp_path / "both"
    zoom(PHOTO, **{**settings, "out": other})
    edit(other, STEP, prompt="early")
    edit(other, 4, prompt="late")
    zoom(PHOTO, **{**settings, "out": other}, resume_from=STEP)
    assert contents(other) == contents(here)


def test_an_edited_text_that_would_stay_unused_is_refused(tmp_path):
    here = tmp_path / "a"
    zoom(PHOTO, **FAKE, out=here)
    edit(here, STEP, prompt="new")
    before = (here / "record.json").read_bytes()
    for more in ({}, {"resume_from": 4}):
        with pytest.raises(UsageError, match="resume_from=3"):
            zoom(PHOTO, **FAKE, out=here, **more)
        assert (here / "record.json").read_bytes() == before
    edit(here, STEP, prompt="")
    edit(here, 1, prompt="a measured state")
    with pytest.raises(UsageError, match="state 1, which is measured"):
        zoom(PHOTO, **FAKE, out=here)


def test_candidates_can_be_made_with_an_edited_text(tmp_path):
    here, prompter = tmp_path / "a", Counter()
    settings = {**FAKE, "prompter": prompter, "out": here}
    zoom(PHOTO, **settings)
    edit(here, STEP, prompt="mine")
    prompter.asked = 0
    result = zoom(PHOTO, **settings, resume_from=STEP, candidates=3)
    assert prompter.asked == 0
    assert {state.prompt for state in result.candidates} == {"mine"}
    assert len(record(here).states) == STEP, "states made with other words are not listed beside the text"
    taken = zoom(PHOTO, **settings, resume_from=STEP, candidate=3)
    np.testing.assert_array_equal(taken.states[STEP].image, result.candidates[2].image)
    assert words(here)[0] == ("edited", "mine", None)


def test_the_prompter_is_asked_once_for_all_candidates(tmp_path):
    prompter = Counter()
    made = zoom(PHOTO, **FAKE, prompter=prompter, candidates=4, out=tmp_path / "a").candidates
    assert prompter.asked == 1
    assert {state.prompt_raw for state in made} == {"words at 32, words at 32"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["candidate", "edited", "looking"])
def test_a_kill_at_any_moment_leaves_a_true_record_and_nothing_is_lost(tmp_path, monkeypatch, how):
    """After a stop at any write, the same command ends as without, and a plain run as if it was never given or was."""
    start = tmp_path / "start"
    zoom(PHOTO, **FAKE, candidates=2, out=start)
    zoom(PHOTO, **FAKE, out=start, animate=True)
    old = states(start)
    more = {
        "candidate": {"resume_from": STEP, "candidate": 2},
        "edited": {"resume_from": STEP},
        "looking": {"resume_from": 4, "candidates": 2},
    }[how]
    if how == "edited":
        edit(start, STEP, prompt="mine")
    whole = shutil.copytree(start, tmp_path / "whole")
    zoom(PHOTO, **FAKE, **more, out=whole)
    expected, new = contents(whole), states(whole)
    for writes in range(20):
        here = shutil.copytree(start, tmp_path / f"stop{writes}")
        left = writes

        def stop(path, data, write=folders.write_atomic):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            write(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(folders, "write_atomic", stop)
            try:
                zoom(PHOTO, **FAKE, **more, out=here)
                break
            except KeyboardInterrupt:
                pass
        assert (here / "04_100x.png").exists(), "a state lies there until there is another"
        plain = shutil.copytree(here, tmp_path / f"plain{writes}")
        if edited_prompts(record(plain)):
            with pytest.raises(UsageError, match="resume_from=3"):
                zoom(PHOTO, **FAKE, out=plain)
        else:
            zoom(PHOTO, **FAKE, out=plain)
            assert states(plain) in (old, new)
        zoom(PHOTO, **FAKE, **more, out=here)
        assert contents(here) == expected
    assert writes >= 4
    assert left >= 0, "it ran through at last"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"candidates": 1}, "2 to 16"),
        ({"candidates": 17}, "2 to 16"),
        ({"candidate": 1}, "resume_from=STEP"),
        ({"resume_from": STEP, "candidate": 17}, "1 to 16"),
        ({"resume_from": STEP, "candidate": 0}, "1 to 16"),
        ({"resume_from": STEP, "candidate": 1, "candidates": 2}, "either"),
        ({"resume_from": -1}, "resume_from=-1"),
        ({"resume_from": 5}, "0 to 4"),
        ({"resume_from": 1, "candidates": 2}, "3 to 4, the generated states"),
        ({"resume_from": 4}, "no state before that one yet"),
        ({"resume_from": 4, "candidate": 1}, "no state before that one yet"),
        ({"backbone": "bicubic", "candidates": 2}, "bicubic makes nothing up"),
        ({"backbone": "animevideo", "candidates": 9}, "1 to 8"),
        ({"magnification": 4, "candidates": 2}, "the photo's own pixels"),
        ({"candidates": 2, "out": None}, "out='folder'"),
        ({"resume_from": 0, "out": "empty"}, "no run to resume"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(tmp_path, monkeypatch, more, says):
    monkeypatch.chdir(tmp_path)
    zoom(PHOTO, **FAKE, candidates=2, out="a")  # states 0 to 2 are there
    before = contents(tmp_path / "a"), (tmp_path / "a" / "record.json").read_bytes()
    with pytest.raises(UsageError, match=says):
        zoom(PHOTO, **{**FAKE, "out": "a", **more})
    assert (contents(tmp_path / "a"), (tmp_path / "a" / "record.json").read_bytes()) == before


@pytest.mark.slow
def test_candidates_of_a_direct_zoom_and_of_the_paper_protocol(tmp_path):
    chain = ChainOfZoom(backbone="fake")
    for name, settings in {"direct": {**SETTINGS, "mode": "direct"}, "paper": {"protocol": "paper"}}.items():
        settings["magnification"] = 16
        made = zoom(PHOTO, **settings, backbone="fake", candidates=2, out=tmp_path / name).candidates
        plain = list(chain.zoom(PHOTO, **settings))
        np.testing.assert_array_equal(made[0].image, plain[1].image)
