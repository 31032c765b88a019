"""Records that are not as they were written: every command that reads one goes on, or says in its own words why not."""

import json
import os
import shutil
from contextlib import suppress

import msgspec
import numpy as np
import pytest
from record_fuzz import mutant

from chain_of_zoom import animate, upscale, zoom, zoom_many
from chain_of_zoom.chain.folder import read_finished
from chain_of_zoom.chain.record import Record
from chain_of_zoom.errors import BadInputError, ChainOfZoomError, OccupiedError
from chain_of_zoom.imaging.encode import encode_png

MUTANTS = int(os.environ.get("COZ_FUZZ_RECORDS", "40"))
SETTINGS = {"magnification": 16, "size": (16, 16), "backbone": "fake", "prompt": "leaf"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A photo, and a complete run of it with offered candidates."""
    home = tmp_path_factory.mktemp("records")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    (home / "p.png").write_bytes(encode_png(pixels))
    zoom(home / "p.png", out=home / "base", **SETTINGS)
    zoom(home / "p.png", out=home / "base", candidates=2, **SETTINGS)
    animate(home / "base", seconds=0.1)
    return home


def use(home, data: bytes, how: str) -> None:
    """Give a record to one of the commands that read it."""
    run = home / "batch" / "p" if how.startswith("batch") else home / "run"
    shutil.rmtree(home / "batch", ignore_errors=True)
    shutil.rmtree(home / "run", ignore_errors=True)
    shutil.copytree(home / "base", run)
    (run / "record.json").write_bytes(data)
    if how == "animate":
        animate(run, seconds=0.1)
    elif how == "eval":
        read_finished(run, with_sheet=False)
    elif how.startswith("batch"):
        outcomes = list(zoom_many(home / "p.png", out=home / "batch", skip_done=how == "batch --skip-done", **SETTINGS))
        if outcomes[0].error:
            raise outcomes[0].error
    else:
        revision = {
            "resume": {}, "force": {"force": True}, "resume_from": {"resume_from": 2},
            "candidate": {"resume_from": 1, "candidate": 2}, "candidates": {"candidates": 3},
        }  # fmt: skip
        zoom(home / "p.png", out=run, **SETTINGS, **revision[how])


WAYS = (
    "resume", "animate", "batch", "batch --skip-done", "force", "resume_from", "candidate", "candidates", "eval",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_mutants_are_taken_or_refused_in_words(home, how):
    document = json.loads((home / "base" / "record.json").read_bytes())
    begin = WAYS.index(how) * MUTANTS
    for seed in range(begin, begin + MUTANTS):
        data = mutant(document, seed)
        try:
            use(home, data, how)
        except ChainOfZoomError:
            continue
        except BaseException as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}; {data[:3000]!r}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["states"][0].update(file="a\0b"),
        lambda record: record["states"][0].update(file="../p.png"),
        lambda record: record.update(animation=".."),
        lambda record: [state.update(magnification=0) for state in record["states"]],
        lambda record: record["states"][-1].update(magnification=1e308),
        lambda record: record["states"].reverse(),
        lambda record: [state.update(source_scale=0) for state in record["states"]],
        lambda record: [state.update(window=[0, 0, 0, 0]) for state in record["states"]],
        lambda record: [state.update(window=[1, 1, 0, 0]) for state in record["states"]],
        lambda record: record["states"][1].update(window=[1000, 1000, 1010, 1010]),
        lambda record: record.update(states=[]),
        lambda record: record["states"][1].update(seconds=-1),
        lambda record: record["backbone"].update(factor=1),
        lambda record: record["input"].update(size=[0, 0]),
        lambda record: record["candidates"][0]["states"][0].update(window=[0, 0, 1e-320, 1]),
        lambda record: record.update(settings={**record["settings"], "at": "1e999999999,0"}),
    ],
)
def test_what_makes_no_sense_is_no_record(home, change):
    document = json.loads((home / "base" / "record.json").read_bytes())
    assert Record.from_json(json.dumps(document).encode()).complete
    change(document)
    data = json.dumps(document).encode()
    with pytest.raises(msgspec.DecodeError):
        Record.from_json(data)
    with pytest.raises(OccupiedError, match="is no record"):
        use(home, data, "resume")
    with pytest.raises(BadInputError, match="cannot be read"):
        use(home, data, "animate")
    with pytest.raises(OccupiedError, match="is no record"):
        use(home, data, "batch --skip-done")


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"p\xbb", b"[" * 50_000, b'{"version":' + b"[" * 50_000 + b"]" * 50_000 + b"}"])
def test_bytes_that_are_no_json(home, data):
    for how in ("resume", "animate", "batch", "batch --skip-done"):
        with pytest.raises((OccupiedError, BadInputError)):
            use(home, data, how)
    use(home, data, "force")
    use(home, data, "eval")


@pytest.mark.slow
def test_the_summary_of_a_batch_and_the_record_of_a_whole_picture(home):
    (home / "other").mkdir()
    (home / "other" / "summary.json").write_bytes(b'{"version":' + b"[" * 50_000)
    with pytest.raises(OccupiedError, match="summary.json is there already"):
        list(zoom_many(home / "p.png", out=home / "other", **SETTINGS))
    upscale(home / "p.png", 2, out=home / "u.png", backbone="bicubic")
    record = home / "u.png.json"
    document = json.loads(record.read_bytes())
    for seed in range(MUTANTS):
        record.write_bytes(mutant(document, seed))
        with suppress(ChainOfZoomError):
            upscale(home / "p.png", 2, out=home / "u.png", backbone="bicubic")
