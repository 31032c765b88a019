"""Names, links and folders of others around an enlargement."""

from __future__ import annotations

import xml.dom.minidom

import pytest
from PIL import Image

from chain_of_zoom import upscale
from chain_of_zoom.errors import OutputError
from upscaling.doubles import Double, picture


def enlarge(out, **options):
    return upscale(picture(20, 30), 2, out=out, backbone="bicubic", **options)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "dzi"])
def test_links_in_the_place_of_its_files_are_replaced(tmp_path, suffix):
    here, outside = tmp_path / "here", tmp_path / "outside"
    (here / f"a.{suffix}.work").mkdir(parents=True)
    outside.write_bytes(b"victim")
    names = [f"a.{suffix}", f"a.{suffix}.json", f".a.{suffix}.json.tmp"]
    for name in names:
        (here / name).symlink_to(outside)
    (here / f"a.{suffix}.work" / "record.json").write_bytes(b"{}")
    for name in ("output." + suffix, "output_files"):
        (here / f"a.{suffix}.work" / name).symlink_to(outside)
    enlarge(here / f"a.{suffix}", force=True)
    assert outside.read_bytes() == b"victim"
    assert not any((here / name).is_symlink() for name in names[:2])


def test_a_work_folder_of_somebody_else_stays(tmp_path):
    (tmp_path / "a.png.work").mkdir()
    (tmp_path / "a.png.work" / "thesis.odt").write_bytes(b"precious")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "record.json").write_bytes(b"{}")
    (tmp_path / "b.png.work").symlink_to(tmp_path / "elsewhere")
    for name, says in (("a.png", "is not this program's"), ("b.png", "is a link")):
        with pytest.raises(OutputError, match=says):
            enlarge(tmp_path / name, force=True)
    assert (tmp_path / "a.png.work" / "thesis.odt").read_bytes() == b"precious"
    assert (tmp_path / "elsewhere" / "record.json").read_bytes() == b"{}"


@pytest.mark.parametrize(("stem", "suffix"), [(243, ".png"), (246, ".png"), (245, ".dzi"), (240, ".jpeg")])
def test_names_that_just_fit(tmp_path, stem, suffix):
    name = "u" * stem + suffix
    assert enlarge(tmp_path / name).record.complete
    assert (tmp_path / f"{name}.json").exists()


@pytest.mark.parametrize(("stem", "suffix"), [(247, ".png"), (251, ".png"), (250, ".dzi"), (300, ".tif")])
def test_names_that_do_not_are_refused_before_the_work(tmp_path, stem, suffix):
    with pytest.raises(OutputError, match=r"too long\); name another file with out"):
        enlarge(tmp_path / ("u" * stem + suffix))
    assert not list(tmp_path.iterdir())


def test_prompts_need_room_in_a_name_where_there_are_any(tmp_path):
    with pytest.raises(OutputError, match="too long"):
        upscale(picture(20, 30), 2, out=tmp_path / ("u" * 240 + ".png"), backbone=Double(text_aware=True))


@pytest.mark.parametrize("name", ["e\x1b[31m\x07", "--><script>", "a--", "\ufffe"])
def test_a_name_in_a_deep_zoom_picture(tmp_path, name):
    photo = tmp_path / f"{name}.png"
    Image.fromarray(picture(20, 30)).save(photo)
    upscale(photo, 2, out=tmp_path / "a.dzi", backbone="bicubic")
    xml.dom.minidom.parse(str(tmp_path / "a.dzi"))
    assert "<script>.png" not in (tmp_path / "a.html").read_text()
