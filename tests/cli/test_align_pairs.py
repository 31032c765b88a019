"""`coz align pairs` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_files import save
from conftest import PHOTO, Coz, noise

from chain_of_zoom.alignment.pairs.read import read_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "astronaut.png").symlink_to(PHOTO)
    save(noise(300, 260), tmp_path / "photos" / "noise.png")
    return tmp_path / "photos"


@pytest.mark.slow
def test_pairs_of_a_folder_and_again(coz: Coz, folder, tmp_path):
    done = coz("align", "pairs", "photos", "--side", 128, "--spots", "centre", "--held-out", 0.5)
    assert done.returncode == 0, done.stderr
    assert "5 pairs of 2 photos" in done.stdout
    assert "pairs/contact.jpg" in done.stdout
    again = coz("align", "pairs", "photos", "--side", 128, "--spots", "centre", "--held-out", 0.5)
    assert again.stdout == done.stdout
    assert len(read_pairs(tmp_path / "pairs").select("held-out")) in (2, 3)


@pytest.mark.slow
def test_every_option_arrives(coz: Coz, folder, tmp_path):
    done = coz(
        *(
            "align",
            "pairs",
            "photos",
            "-o",
            "out",
            "--side",
            64,
            "--spots",
            2,
            "--chain-share",
            0.5,
            "--chain-depth",
            1,
        ),
        *("--backbone", "fake", "--held-out", 0.4, "--min-detail", 1.5, "--min-entropy", 0.5, "--min-distance", 3),
        *("--seed", 5, "--limit", 1, "--json"),
    )
    about = json.loads(done.stdout)
    assert about["settings"] == {
        "side": 64, "spots": 2, "chain_share": 0.5, "chain_depth": 1, "backbone": "fake", "backbone_options": {},
        "backbone_sha256": None, "held_out": 0.4, "min_detail": 1.5, "min_entropy": 0.5, "min_distance": 3, "seed": 5,
    }  # fmt: skip
    assert [photo["file"] for photo in about["photos"]] == ["astronaut.png"]
    assert json.loads((tmp_path / "out" / "pairs.json").read_text()) == about


def test_a_device_for_the_backbone(coz: Coz, folder):
    done = coz(*("align", "pairs", "photos/noise.png", "--chain-share", 1, "--backbone", "fake", "--device", "cpu"))
    assert done.returncode == 2
    assert "--device means nothing to fake" in done.stderr


@pytest.mark.slow
def test_details_of_the_backbone(coz: Coz, folder):
    done = coz(
        *("align", "pairs", "photos/noise.png", "--side", 64, "--spots", "centre", "--chain-share", 1),
        *("--backbone", "bicubic", "--set", "backbone.factor=4", "--json"),
    )
    settings = json.loads(done.stdout)["settings"]
    assert settings["backbone_options"] == {"factor": "4"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("photos", "--spots", "many"), 2, "--spots 'many'; accepted: a number from 1, or centre"),
        (("photos", "--chain-share", "0.3"), 2, "--chain-share and --backbone go together"),
        (("photos", "--backbone", "fake"), 2, "--chain-share and --backbone go together"),
        (("photos", "--set", "backbone.factor=4"), 2, "accepted: --backbone NAME with them"),
        (("photos", "--set", "prompter.text=x"), 2, "--set 'prompter.text=x'; accepted: backbone.key=value"),
        (("photos", "--device", "cpu"), 2, "accepted: --backbone NAME with them"),
        (("photos", "--held-out", "1"), 2, "--held-out 1.0; accepted: 0 to less than 1"),
        (("nowhere",), 3, "no such folder or manifest"),
        (("photos/astronaut.png", "--min-entropy", "6"), 3, "no pair is left"),
        (("photos", "-o", "photos/noise.png"), 4, "cannot write photos/noise.png"),
    ],
)
def test_mistakes_are_one_line(coz: Coz, folder, arguments, code, words):
    done = coz("align", "pairs", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr


@pytest.mark.slow
def test_quiet_prints_nothing_and_one_photo_says_that_nothing_is_held_out(coz: Coz, folder):
    done = coz("align", "pairs", "photos/noise.png", "--side", 128, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "no pair is held out" in coz("align", "pairs", "photos/noise.png", "--side", 128).stdout
