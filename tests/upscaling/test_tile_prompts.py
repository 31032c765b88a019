"""A prompt for every tile: asked in batches, kept in a file, edited, and only what changes is made again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chain_of_zoom import Prompter, upscale
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.decode import decode
from chain_of_zoom.prompters.fixed import Fixed
from upscaling.doubles import Double, picture


class Looking(Prompter):
    """Names the mean colour of what it is shown; remembers what it was shown."""

    name = "looking"

    def __init__(self):
        self.batches: list[int] = []
        self.contexts = []

    def __call__(self, contexts):
        self.batches.append(len(contexts))
        self.contexts += contexts
        return [f"colour {int(context.zoomed.mean())}" for context in contexts]


def reader(**settings):
    return Double(text_aware=True, **settings)


def run(out, backbone=None, scale=4, size=(100, 140), **settings):
    backbone = backbone or reader()
    return upscale(picture(*size), scale, out=out, backbone=backbone, **settings).record


def test_every_tile_is_asked_for_with_the_whole_picture_beside_it(tmp_path):
    prompter, backbone = Looking(), reader()
    record = run(tmp_path / "a.png", backbone, prompter=prompter, prompt="moss")
    tiles = record.steps[0].tiles
    assert prompter.batches == [8] * (tiles // 8) + [tiles % 8] * (tiles % 8 > 0)
    for context in prompter.contexts:
        assert context.states[0].shape == (512, 717, 3)
        assert max(context.zoomed.shape) == 512
        assert context.magnification == 4
    written = json.loads((tmp_path / "a.png.prompts.json").read_bytes())
    (step,) = written["steps"]
    assert step["scale"] == 4
    assert [tile["prompt"] for tile in step["tiles"]] == backbone.prompts
    assert step["tiles"][0].keys() == {"row", "col", "box", "prompt"}
    assert step["tiles"][0]["prompt"].endswith(", moss,")
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (tile["box"] for tile in step["tiles"])) == 400 * 560


def test_a_backbone_that_ignores_prompts_has_no_prompter_asked(tmp_path):
    prompter = Looking()
    run(tmp_path / "a.png", Double(), prompter=prompter)
    assert not prompter.batches
    assert not (tmp_path / "a.png.prompts.json").exists()


def edited(tmp_path, scale: float, row: int, col: int, text: str, name="edited.json"):
    data = json.loads((tmp_path / "a.png.prompts.json").read_bytes())
    (step,) = [step for step in data["steps"] if step["scale"] == scale]
    (tile,) = [tile for tile in step["tiles"] if (tile["row"], tile["col"]) == (row, col)]
    tile["prompt"] = text
    path = tmp_path / name
    path.write_text(json.dumps(data))
    return path, tuple(tile["box"])


@pytest.mark.slow
def test_an_edited_prompt_changes_its_tile_and_nothing_else(tmp_path):
    first = run(tmp_path / "a.png", prompter=Looking())
    before = decode(tmp_path / "a.png").colour
    path, (x0, y0, x1, y1) = edited(tmp_path, 4, 1, 2, "a longer text")
    backbone, prompter = reader(), Looking()
    second = run(tmp_path / "a.png", backbone, prompter=prompter, prompts_from=path)
    after = decode(tmp_path / "a.png").colour
    assert backbone.prompts == ["a longer text"]
    assert not prompter.batches
    assert second.steps[0].kept == first.steps[0].tiles - 1
    changed = np.zeros(before.shape[:2], bool)
    changed[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(before[~changed], after[~changed])
    assert (before[changed] != after[changed]).any()
    assert json.loads((tmp_path / "a.png.prompts.json").read_bytes()) == json.loads(path.read_bytes())
    # The same file again: nothing is left to do. The first one: back to the first picture.
    untouched = reader()
    assert run(tmp_path / "a.png", untouched, prompter=Looking(), prompts_from=path) == second
    assert not untouched.prompts


@pytest.mark.slow
def test_in_a_chain_what_depends_on_the_tile_is_made_again_too(tmp_path):
    chain = {"scale": 16, "size": (50, 70)}
    run(tmp_path / "a.png", **chain, prompter=Looking())
    path, _ = edited(tmp_path, 4, 0, 0, "a longer text")
    backbone = reader()
    record = run(tmp_path / "a.png", backbone, **chain, prompter=Looking(), prompts_from=path)
    first, second = record.steps
    assert first.kept == first.tiles - 1
    assert 0 < second.tiles - second.kept < second.tiles / 2
    fresh = run(tmp_path / "b.png", **chain, prompts_from=path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert fresh.complete


def test_the_prompts_of_one_step_alone_are_enough(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"tiles": [{"row": 0, "col": 1, "prompt": "mine"}]}')
    backbone = reader()
    run(tmp_path / "a.png", backbone, prompter=Fixed("theirs"), prompts_from=path)
    assert backbone.prompts[:3] == ["theirs", "mine", "theirs"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "one.json is no prompts file"),
        ('{"steps": [{"tiles": [{"row": 0}]}]}', "is no prompts file"),
        ('{"tiles": [{"row": 0, "col": 0, "prompt": "", "colour": 1}]}', "unknown field"),
        (
            '{"tiles": [{"row": 9, "col": 0, "prompt": ""}]}',
            r"no tile is in row 9, column 0.*accepted: 3 rows and 4 col",
        ),
        ('{"tiles": [{"row": 0, "col": 0, "box": [0, 0, 9, 9], "prompt": ""}]}', "with box"),
        ('{"scale": 16, "tiles": []}', r"no step has the scale 16.*accepted: 4"),
    ],
)
def test_a_prompts_file_that_does_not_fit_is_refused(tmp_path, text, says):
    path = tmp_path / "one.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        run(tmp_path / "a.png", prompts_from=path)
    with pytest.raises(UsageError, match=r"cannot be read"):
        run(tmp_path / "a.png", prompts_from=tmp_path / "none.json")
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


@pytest.mark.slow
def test_prompts_are_kept_when_a_run_stops(tmp_path):
    def stop(progress):
        if progress.stage == "tiles" and progress.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.png", prompter=Looking(), on_progress=stop)
    prompter = Looking()
    record = run(tmp_path / "a.png", prompter=prompter)
    assert not prompter.batches
    assert record.steps[0].kept == 1
