"""Photos and results in object stores: a store in memory, and a real server of S3 with a cluster."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import fsspec
import pytest
from batch_files import contents, save
from cluster.perishable import ONCE, build
from cluster.small import S3
from conftest import noise

from chain_of_zoom import zoom_many
from chain_of_zoom.api import ChainOfZoom
from chain_of_zoom.batch.executors import BatchOptions
from chain_of_zoom.batch.far import zoom_far_rows
from chain_of_zoom.batch.many import plan_batch
from chain_of_zoom.batch.on_ray import OnRay
from chain_of_zoom.batch.run import Batch
from chain_of_zoom.chain.request import make_request
from chain_of_zoom.cluster.joining import Crew
from chain_of_zoom.cluster.stores import StoreMirror, find_address, open_store
from chain_of_zoom.errors import BadInputError, MissingError, OutputError, UsageError

SIZE = {"size": (24, 16), "magnification": 16}


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def put_photos(store: fsspec.AbstractFileSystem, folder: Path, home: str, count: int) -> None:
    for number in range(count):
        photo = save(noise(32, 48, number), folder / f"p{number}.png")
        store.pipe_file(f"{home}/p{number}.png", photo.read_bytes())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://b/a b.png", "s3://b/a b.png"),
        ("gs://b", "gs://b"),
        ("a/s3:b", None),
        ("/a:/b", None),
        ("c:/photo.png", None),
    ],
)
def test_an_address_survives_that_it_was_taken_for_a_path(text, address):
    assert find_address(Path(text)) == address


def test_addresses_and_paths_of_a_mirror(tmp_path):
    mirror = StoreMirror(tmp_path)
    path = mirror.locate("s3://bucket/photos/a.png")
    assert path == tmp_path / "s3" / "bucket" / "photos" / "a.png"
    assert mirror.find_address(path) == "s3://bucket/photos/a.png"
    assert mirror.find_address(Path("/elsewhere/a.png")) is None
    assert mirror.reword(f"{path}: damaged") == "s3://bucket/photos/a.png: damaged"
    with pytest.raises(UsageError, match=r"accepted: an address without \.\."):
        mirror.locate("s3://bucket/../../../etc/passwd")


def test_stores_that_cannot_be_opened_say_why(tmp_path):
    with pytest.raises(MissingError, match="pip install gcsfs"):
        open_store("gs://bucket/photo.png")
    with pytest.raises(UsageError, match="accepted: what fsspec opens"):
        open_store("nowhere://bucket/photo.png")


def test_pictures_of_a_store(tmp_path, memory):
    put_photos(memory, tmp_path, "/photos", 2)
    memory.pipe_file("/photos/deep/p9.png", b"")
    memory.pipe_file("/photos/notes.txt", b"")
    mirror = StoreMirror(tmp_path / "mirror")
    assert [path.name for path in mirror.list_pictures("memory://photos", recursive=False)] == ["p0.png", "p1.png"]
    assert len(mirror.list_pictures("memory://photos", recursive=True)) == 3
    assert mirror.list_pictures("memory://photos/p1.png", recursive=False)[0].name == "p1.png"
    memory.pipe_file("/texts/notes.txt", b"")
    with pytest.raises(BadInputError, match="no pictures there"):
        mirror.list_pictures("memory://texts", recursive=False)


@pytest.mark.slow
def test_a_row_is_fetched_made_and_sent_with_the_record_last(tmp_path, memory, monkeypatch):
    """What is there already is kept, what is gone is made again, and a photo that is not there is a failure."""
    put_photos(memory, tmp_path / "photos", "/photos", 1)
    root = StoreMirror(tmp_path / "driver")
    request = make_request(**SIZE)
    photos = [root.locate("memory://photos/p0.png"), root.locate("memory://photos/gone.png")]
    tasks, chain = plan_batch(photos, None, [], request, tmp_path, recursive=False), ChainOfZoom("fake")
    options = BatchOptions(out=root.locate("memory://zooms"))
    sent = []
    put = memory.put_file
    monkeypatch.setattr(memory, "put_file", lambda path, name, **more: (sent.append(name), put(path, name, **more)))
    answers = zoom_far_rows(chain, tasks, options, root.root)
    assert [answer.status for answer in answers] == ["done", "failed"]
    assert answers[1].error[0] == "BadInputError"
    assert answers[1].error[1].startswith("memory://photos/gone.png")
    assert [Path(name).name for name in sent if "thumbnails" not in name][-1] == "record.json"
    (state,) = [name for name in sent if Path(name).name.startswith("02_")]
    assert len(answers[0].thumbnails) == 2
    assert memory.exists(f"/zooms/thumbnails/{next(iter(answers[0].thumbnails))}")
    assert not memory.find("/zooms/gone")
    for skip_done in (False, True):
        kept = BatchOptions(out=options.out, skip_done=skip_done)
        assert [answer.status for answer in zoom_far_rows(chain, tasks[:1], kept, root.root)] == ["kept"]
    data = memory.cat_file(state)
    memory.rm_file(state)
    assert [answer.status for answer in zoom_far_rows(chain, tasks[:1], options, root.root)] == ["done"]
    assert memory.cat_file(state) == data


@pytest.mark.slow
def test_a_store_that_takes_nothing_ends_the_batch(tmp_path, memory, monkeypatch):
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError("no such key")

    put_photos(memory, tmp_path / "photos", "/photos", 1)
    root = StoreMirror(tmp_path / "driver")
    tasks = plan_batch(
        [root.locate("memory://photos/p0.png")], None, [], make_request(**SIZE), tmp_path, recursive=False
    )
    monkeypatch.setattr(memory, "put_file", refuse)
    with pytest.raises(OutputError, match=r"memory://zooms/p0/.*no such key.*check the address and its credentials"):
        zoom_far_rows(ChainOfZoom("fake"), tasks, BatchOptions(out=root.locate("memory://zooms")), root.root)


def test_addresses_need_the_cluster(coz):
    end = coz("zoom", "s3://bucket/photos", "-o", "zooms")
    assert end.returncode == UsageError.exit_code
    assert "s3://bucket/photos is an address; accepted: with --on ray" in end.stderr


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    """A bucket on a server of this machine; `cluster`, which comes first, has set the environment."""
    host, port = S3.removeprefix("http://").split(":")
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", host, "-p", port],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urlopen(S3, timeout=5).close()
                break
            except URLError:
                time.sleep(0.1)
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        store.mkdir("bucket")
        yield store
        server.kill()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
def test_a_bucket_holds_the_bytes_that_folders_would(cluster, bucket, tmp_path):
    """Although a worker dies on the way; and the same command goes on with what is there."""
    home = tmp_path / "here" / "s3" / "bucket"
    put_photos(bucket, home / "photos", "bucket/photos", 4)
    list(zoom_many(home / "photos", out=home / "zooms", backbone="fake", seed=ONCE, **SIZE))
    statuses = []
    for _ in range(2):
        mirror = StoreMirror()
        photos = mirror.list_pictures("s3://bucket/photos", recursive=False)
        out, make = mirror.locate("s3://bucket/zooms"), partial(build, str(tmp_path))
        tasks = plan_batch(photos, None, [], make_request(**SIZE, seed=ONCE), out, recursive=False)
        batch = Batch(make(), tasks, out, executor=OnRay(make, Crew(address=cluster.address), mirror))
        statuses.append([outcome.status for outcome in batch.run()])
        assert not mirror.root.exists()
    assert statuses == [["done"] * 4, ["kept"] * 4]
    assert list(tmp_path.glob("died for *"))
    bucket.get("bucket/zooms/", str(tmp_path / "there"), recursive=True)
    assert contents(tmp_path / "there") == contents(home / "zooms")
