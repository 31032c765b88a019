"""Messages of Python calls: keywords, not options of the command line."""

from __future__ import annotations

import pytest
from conftest import noise

from chain_of_zoom import UsageError, upscale, zoom, zoom_many
from chain_of_zoom.errors import OutputError
from chain_of_zoom.wording import python_words, reword


@pytest.mark.parametrize(
    ("typed", "called"),
    [
        ("--at 'x' is not 2 numbers; for example --at 0.62,0.4 or --at 310px,200px",
         "at='x' is not 2 numbers; for example at=(0.62, 0.4) or at='310px,200px'"),
        ("use --box alone, or --at with --zoom", "use box alone, or at with magnification"),
        ("--zoom nan; accepted: 1 to 1000000; for example --zoom 64",
         "magnification=nan; accepted: 1 to 1000000; for example magnification=64"),
        ("for example --size 768x512", "for example size=(768, 512)"),
        ("type: --color-fix wavelet", "type: color_fix='wavelet'"),
        ("add --force to replace it, or name another folder with -o",
         "add force=True to replace it, or name another folder with out"),
        ("for example -o zooms", "for example out='zooms'"),
        ("type: --device cpu, and see coz doctor", "type: backbone_options={'device': 'cpu'}, and see coz doctor"),
        ("type: --set backbone.threads=4", "type: backbone_options={'threads': 4}"),
        ("with --set photo.pixels=NUMBER", "with photo_options={'pixels': NUMBER}"),
        ("change --seed, or try another --backbone", "change seed, or try another backbone"),
        ("type: coz eval data photos -o photos.json", "type: coz eval data photos -o photos.json"),
        ("type: pip install --upgrade name", "type: pip install --upgrade name"),
        ("a -one-, 5--6 and x--at stay", "a -one-, 5--6 and x--at stay"),
    ],
)  # fmt: skip
def test_options_become_keywords(typed, called):
    error = UsageError(typed)
    reword(error)
    assert str(error) == called


def test_other_errors_pass():
    with pytest.raises(ValueError, match="--at"), python_words():
        raise ValueError("--at")
    with pytest.raises(OutputError, match="^out$"), python_words():
        raise OutputError("-o")


@pytest.mark.parametrize(
    "settings",
    [
        {"at": "x"}, {"at": (2, 2)}, {"at": (10**5000, 0)}, {"box": (1, 1, 0, 0)}, {"magnification": 0},
        {"size": (0, 1)}, {"seed": 10**5000}, {"magnification": 10**5000},
        {"seed": -1}, {"mode": "x"}, {"protocol": "x"}, {"color_fix": "x"}, {"prompt": "\udcff"}, {"resume_from": -1},
        {"protocol": "paper", "magnification": 5}, {"box": (0, 0, 1, 1), "at": (0, 0)}, {"backbone": "nope"},
        {"backbone_options": {"threads": 0}}, {"photo_options": {"pixels": 0}}, {"candidates": 99},
    ],
    ids=range(20),  # since some cannot be shown
)  # fmt: skip
def test_python_calls_speak_of_keywords(settings):
    with pytest.raises(UsageError) as caught:
        zoom(noise(20, 20), **{"backbone": "realsr", "size": (8, 8), **settings})
    assert "--" not in str(caught.value)


def test_so_do_batches_and_whole_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (outcome,) = zoom_many(tmp_path / "a.png", out=tmp_path / "out", backbone="fake")
    assert "--" not in str(outcome.error)
    with pytest.raises(UsageError, match=r"scale=0;.* for example scale=4$"):
        upscale(noise(20, 20), 0)
    with pytest.raises(UsageError, match="photos of a batch"):
        zoom_many(noise(20, 20)[0, 0, 0], out=tmp_path / "out")
