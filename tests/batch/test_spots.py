from __future__ import annotations

from pathlib import Path

import pytest

from chain_of_zoom import UsageError
from chain_of_zoom.batch.spots import read_list
from chain_of_zoom.chain.request import ZoomRequest


def read(folder: Path, text: str | bytes, *spots: str, **settings):
    file = folder / "spots.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_list(file, spots, ZoomRequest(**settings), folder / "zooms")


def test_every_column(tmp_path):
    (task,) = read(
        tmp_path,
        'photo,at,zoom,size,prompt,seed,name\nbirds/owl.jpg,"0.6,0.4",64x,768x512,"an eye, close",7,the owl\n',
        zoom=16.0,
        prompt="feathers",
    )
    assert (task.photo, task.name) == (tmp_path / "birds" / "owl.jpg", "the owl")
    assert task.request == ZoomRequest(at="0.6,0.4", zoom=64.0, size=(768, 512), prompt="an eye, close", seed=7)


def test_empty_cells_mean_what_the_command_says(tmp_path):
    text = 'photo,at,box,zoom\na.jpg,,,\nb.jpg,"0.5,0.5",,\n\nc.jpg,,"1,2,30,40",\nd.jpg,,,8\n'
    tasks = read(tmp_path, text, "0.1,0.1", "0.2,0.2", zoom=64.0)
    assert [(t.photo.name, t.request.at, t.request.box, t.request.zoom) for t in tasks] == [
        ("a.jpg", "0.1,0.1", None, 64.0), ("a.jpg", "0.2,0.2", None, 64.0),
        ("b.jpg", "0.5,0.5", None, 64.0),
        ("c.jpg", None, "1,2,30,40", None),
        ("d.jpg", "0.1,0.1", None, 8.0), ("d.jpg", "0.2,0.2", None, 8.0),
    ]  # fmt: skip
    boxed = read(tmp_path, text, box="0,0,9,9")
    assert [task.request.box for task in boxed] == ["0,0,9,9", None, "1,2,30,40", None]


@pytest.mark.parametrize(
    "text",
    [b"\xef\xbb\xbfphoto;zoom\r\na.jpg;4\r\n", "Photo\tZOOM\na.jpg\t4", " photo , zoom \n a.jpg , 4 \n"],
    ids=["as Excel saves it", "tabs", "blanks"],
)
def test_other_programs_tables(tmp_path, text):
    (task,) = read(tmp_path, text)
    assert (task.photo, task.request.zoom) == (tmp_path / "a.jpg", 4.0)


def test_a_folder_in_the_list_is_its_photos(tmp_path):
    (tmp_path / "birds").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "birds" / name).touch()
    assert [task.photo.name for task in read(tmp_path, "photo\nbirds\n/else/where.jpg\n")] == [
        "a.jpg", "b.jpg", "where.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("photo\n", "lists no photo"),
        ("zoom\n4\n", "line 1: no column photo"),
        ("photo,zom\na.jpg,4\n", "line 1, column 'zom': no such column; .*did you mean zoom?"),
        ("photo,colour\na.jpg,4\n", "line 1, column 'colour': no such column; .*photo, at, zoom, until, box"),
        ("photo,zoom,Zoom\na.jpg,4,4\n", "line 1, column 'zoom': it is there twice"),
        ("photo,zoom\na.jpg,4\nb.jpg,much\n", "line 3, column zoom: --zoom much"),
        ("photo,zoom\na.jpg,0.5\n", "line 2, column zoom: --zoom 0.5"),
        ("photo,zoom\na.jpg,1e9\n", "line 2, column zoom: .*1 to 1000000"),
        ('photo,prompt,at\na.jpg,"two\nlines","0,0"\nb.jpg,x,"0.5"\n', "line 4, column at: .*not 2 numbers"),
        ("photo,at\na.jpg,0.5,0.5\n", "line 2, column at: 3 cells for 2 columns; .*quotes"),
        ("photo,box\na.jpg,everything\n", "line 2, column box: .*not 4 numbers"),
        ("photo,size\na.jpg,9000x1\n", "line 2, column size: size 9000x1"),
        ("photo,size\na.jpg,big\n", "line 2, column size: .*WIDTHxHEIGHT"),
        ("photo,seed\na.jpg,-1\n", "line 2, column seed: seed '-1'"),
        ("photo,seed\na.jpg,99999999999999999999\n", "line 2, column seed: seed 99999999999999999999"),
        ("photo,name\na.jpg,../b\n", "line 2, column name: '../b' names no folder"),
        ("photo,zoom\n,4\n", "line 2, column photo: it is empty"),
        ('photo,at,box\na.jpg,"0,0","0,0,1,1"\n', "line 2, column at, box and zoom: --box already gives"),
        ('photo\n"a.jpg\n', "no CSV"),
        (b"photo\ncaf\xe9.jpg\n", "cannot be read .*UTF-8"),
    ],
)
def test_a_bad_list_is_one_error_that_says_where(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "spots.csv" in str(error.value)


def test_no_list(tmp_path):
    with pytest.raises(UsageError, match=r"--list .*none\.csv cannot be read"):
        read_list(tmp_path / "none.csv", [], ZoomRequest(), tmp_path)
