"""Captions: asked for once per picture, kept through stops, moves and changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import noise
from PIL import Image

from chain_of_zoom.distillation import captioning
from chain_of_zoom.distillation.captioning import caption_crops, caption_pictures
from chain_of_zoom.distillation.captions import Author, Crops, read_captions
from chain_of_zoom.distillation.data import open_training_set
from chain_of_zoom.errors import BadInputError, MissingError, OccupiedError
from chain_of_zoom.prompters.base import PromptContext, Prompter

AUTHOR = Author(prompter="mean", options={"words": 2})


class Mean(Prompter):
    """Says how bright a picture is, and remembers what it was shown; fails after `lasts` pictures."""

    name = "mean"

    def __init__(self, lasts: int = 1000) -> None:
        self.shown: list[np.ndarray] = []
        self.lasts = lasts

    def __call__(self, contexts: Sequence[PromptContext]) -> list[str]:
        self.shown += [context.zoomed for context in contexts]
        if len(self.shown) > self.lasts:
            raise MissingError("the server went away")
        return [f" mean {context.zoomed.mean():.3f},\n mean<|im_end|>" for context in contexts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "set"
    (home / "in").mkdir(parents=True)
    for number in range(20):
        Image.fromarray(noise(20, 30, number)).save(home / "in" / f"{number:02}.png")
    (home / "broken.png").write_bytes(b"no picture")
    return home


@pytest.mark.slow
def test_each_picture_is_asked_about_once(folder, tmp_path):
    out, prompter, counts = tmp_path / "c.jsonl", Mean(), []
    done = caption_pictures(folder, out, prompter, AUTHOR, counts.append)
    assert (done.new, done.reused, done.empty) == (20, 0, 0)
    assert [name for name, _ in done.skipped] == ["broken.png"]
    assert (counts[-1].finished, counts[-1].total) == (20, 20)
    assert [count.finished for count in counts] == sorted(count.finished for count in counts)
    found = read_captions(out)
    assert found.author == AUTHOR
    assert [line.name for line in found.lines] == [f"in/{number:02}.png" for number in range(20)]
    assert found.lines[3].text == f"mean {noise(20, 30, 3).mean():.3f}, mean"  # cleaned as prompts are
    before = out.stat().st_mtime_ns
    again = caption_pictures(folder, out, prompter, AUTHOR)
    assert (again.new, again.reused, len(prompter.shown)) == (0, 20, 20)
    assert out.stat().st_mtime_ns == before


@pytest.mark.slow
def test_moved_pictures_keep_their_caption_and_changed_ones_get_another(folder, tmp_path):
    out, prompter = tmp_path / "c.jsonl", Mean()
    caption_pictures(folder, out, prompter, AUTHOR)
    old = read_captions(out).by_key()
    (folder / "in" / "00.png").rename(folder / "moved.png")
    Image.fromarray(noise(20, 30, 99)).save(folder / "in" / "01.png")
    (folder / "in" / "02.png").unlink()
    done = caption_pictures(folder, out, prompter, AUTHOR)
    assert (done.new, done.reused) == (1, 18)
    new = read_captions(out).by_key()
    assert new["moved.png"].text == old["in/00.png"].text
    assert new["in/01.png"].text != old["in/01.png"].text
    assert "in/00.png" not in new
    assert "in/02.png" not in new


@pytest.mark.slow
@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_stop_loses_nothing_that_was_said(folder, tmp_path, monkeypatch, every):
    monkeypatch.setattr(captioning, "SAVE_EVERY", every)
    out = tmp_path / "c.jsonl"
    with pytest.raises(MissingError, match="went away"):
        caption_pictures(folder, out, Mean(lasts=17), AUTHOR)
    assert len(read_captions(out).lines) == 16  # two batches of eight
    done = caption_pictures(folder, out, Mean(), AUTHOR)
    assert (done.new, done.reused) == (4, 16)
    assert len(read_captions(out).lines) == 20


def test_nothing_said_is_nothing_written(folder, tmp_path):
    out = tmp_path / "c.jsonl"
    with pytest.raises(MissingError):
        caption_pictures(folder, out, Mean(lasts=0), AUTHOR)
    assert not out.exists()


@pytest.mark.slow
def test_captions_of_others_are_not_mixed(folder, tmp_path):
    out = tmp_path / "c.jsonl"
    caption_pictures(folder, out, Mean(), AUTHOR)
    before = out.read_bytes()
    with pytest.raises(OccupiedError, match="captions of mean with other options, weights or crops"):
        caption_pictures(folder, out, Mean(), Author(prompter="mean", options={"words": 3}))
    assert out.read_bytes() == before
    out.write_text("something else\n")
    with pytest.raises(BadInputError, match="no file of captions"):
        caption_pictures(folder, out, Mean(), AUTHOR)


@pytest.mark.slow
def test_a_prompter_is_shown_the_whole_picture_at_512(tmp_path, astronaut):
    home = tmp_path / "set"
    home.mkdir()
    Image.fromarray(np.tile(astronaut, (2, 3, 1))).save(home / "large.png")
    Image.fromarray(noise(30, 40)).save(home / "small.png")
    prompter = Mean()
    caption_pictures(home, tmp_path / "c.jsonl", prompter, AUTHOR)
    assert [shown.shape for shown in prompter.shown] == [(512, 768, 3), (30, 40, 3)]


@pytest.mark.slow
def test_damage_found_later_is_skipped(folder, tmp_path):
    path = folder / "in" / "05.png"
    path.write_bytes(path.read_bytes()[:200])
    out = tmp_path / "c.jsonl"
    done = caption_pictures(folder, out, Mean(), AUTHOR)
    assert done.new == 19
    assert [name for name, _ in done.skipped] == ["broken.png", "in/05.png"]
    path = folder / "in" / "06.png"
    path.write_bytes(path.read_bytes()[:200])
    done = caption_pictures(folder, out, Mean(), AUTHOR)
    assert (done.new, done.reused, len(read_captions(out).lines)) == (0, 18, 18)


@pytest.mark.slow
def test_crops_are_described_as_training_draws_them(folder, tmp_path):
    """The prompter sees the very pixels, mirrored or not; more crops, changed pictures and stops ask what is new."""
    out, prompter = tmp_path / "c.jsonl", Mean(lasts=17)
    plain = open_training_set(folder, size=16, stage=None, seed=5)
    with pytest.raises(MissingError, match="went away"):
        caption_crops(plain, 30, out, prompter, AUTHOR)
    assert len(read_captions(out).lines) == 16
    prompter.lasts = 1000
    done = caption_crops(plain, 30, out, prompter, AUTHOR)
    assert (done.new, done.reused, [name for name, _ in done.skipped]) == (14, 16, ["broken.png"])
    assert read_captions(out).author.crops == Crops(size=16, seed=5, pictures=20)
    data = open_training_set(folder, size=16, stage="bicubic", seed=5, captions=out, examples=30)
    for k in range(30):
        epoch, index = place = data.find_place(k)
        example = data.example(index, epoch)
        assert example.caption == data.find_caption(place) == f"mean {example.hr.mean():.3f}, mean"
    assert len({data.find_caption(data.find_place(k)) for k in range(30)}) == 30
    changed = data.pictures[data.find_place(0)[1]][1]
    Image.fromarray(noise(20, 30, 99)).save(changed)
    epoch, index = data.find_place(0)
    assert data.example(index, epoch).name == data.pictures[(index + 1) % 20][0]
    again = caption_crops(open_training_set(folder, size=16, stage=None, seed=5), 30, out, Mean(), AUTHOR)
    assert 1 <= again.new <= 2  # one an epoch


@pytest.mark.slow
def test_a_damaged_picture_gives_its_crop_to_an_example_with_a_caption(folder, tmp_path):
    out = tmp_path / "c.jsonl"
    plain = open_training_set(folder, size=16, stage=None)
    for place in (plain.find_place(0), plain.find_place(1)):
        path = plain.pictures[place[1]][1]
        path.write_bytes(path.read_bytes()[:200])
    caption_crops(plain, 6, out, Mean(), AUTHOR)
    data = open_training_set(folder, size=16, captions=out, examples=6)
    for k in range(6):
        epoch, index = data.find_place(k)
        example = data.example(index, epoch)
        assert example.caption == f"mean {example.hr.mean():.3f}, mean"


@pytest.mark.slow
def test_captions_of_other_crops_or_too_few_are_refused(folder, tmp_path):
    out = tmp_path / "c.jsonl"
    caption_crops(open_training_set(folder, size=16, stage=None, seed=5), 10, out, Mean(), AUTHOR)
    with pytest.raises(OccupiedError, match="options, weights or crops"):
        caption_pictures(folder, out, Mean(), AUTHOR)
    with pytest.raises(BadInputError, match=r"missing .*: 15, .*coz train captions .*--crops 25 --size 16 --seed 5 -o"):
        open_training_set(folder, size=16, seed=5, captions=out, examples=25)
    with pytest.raises(BadInputError, match=r"other crops \(20 pictures, 16 px, seed 5\); accepted.*\(.*, seed 6\)"):
        open_training_set(folder, size=16, seed=6, captions=out, examples=10)
