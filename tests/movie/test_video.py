from __future__ import annotations

import subprocess

import numpy as np
import pytest
from conftest import PHOTO

from chain_of_zoom import MissingError, OutputError, animate, zoom
from chain_of_zoom.movie import encoding
from chain_of_zoom.movie.animation import Animation

FFMPEG = encoding.find_ffmpeg()
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="needs ffmpeg, or the extra [video]")


@pytest.fixture(scope="module")
def states():
    return zoom(PHOTO, at=(0.42, 0.22), magnification=20, size=(161, 91), backbone="fake").states


@pytest.mark.slow
@needs_ffmpeg
def test_a_film_shows_the_frames_and_carries_the_label(states, tmp_path):
    file = animate(states, tmp_path / "zoom.mp4", seconds=0.4)
    data = file.read_bytes()
    assert data[4:8] == b"ftyp"
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    command = [FFMPEG, "-v", "error", "-i", file, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    made = Animation(states, seconds=0.4)
    first, *_, last = made
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, first.shape[0] // 2 * 2, 160, 3)  # odd sides lose a pixel
    assert len(frames) == 20 + 8 + 40, "the first and the last stand for 20 and 40 frames' time"
    for frame, expected in ((frames[0], first), (frames[-1], last)):
        error = np.abs(frame.astype(int) - expected[: frame.shape[0], :160])
        assert error.mean() < 6  # what halved colours and crf 20 cost; another matrix of colours would cost more


@pytest.mark.slow
@needs_ffmpeg
def test_the_same_states_give_the_same_film(states, tmp_path):
    films = [animate(states, tmp_path / name, seconds=0.3).read_bytes() for name in ("a.mp4", "b.mp4")]
    assert films[0] == films[1]


@needs_ffmpeg
@pytest.mark.parametrize("size", [(1, 64), (64, 1), (1, 1), (2, 1), (3, 5)])
def test_a_film_may_be_as_thin_as_a_run(size, tmp_path):
    """H.264 wants even sides, so one pixel is shown as two."""
    thin = zoom(PHOTO, magnification=4, size=size, backbone="bicubic").states
    file = animate(thin, tmp_path / "thin.mp4", seconds=0.2)
    command = [FFMPEG, "-v", "error", "-i", file, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    frame = next(iter(Animation(thin, seconds=0.2)))
    height, width = (max(side // 2 * 2, 2) for side in frame.shape[:2])
    assert len(raw) == (20 + 3 + 40) * height * width * 3
    first = np.frombuffer(raw[: height * width * 3], np.uint8)
    assert abs(first.mean() - frame[:height, :width].mean()) < 8


def test_without_ffmpeg_the_extra_is_named(states, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "find_ffmpeg", lambda: None)
    with pytest.raises(MissingError, match=r"pip install 'chain-of-zoom\[video\]'"):
        animate(states, tmp_path / "a.mp4", seconds=0.2)
    assert list(tmp_path.iterdir()) == []


@needs_ffmpeg
def test_what_ffmpeg_refuses_is_told_in_one_line(states, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "MP4_QUALITY", "nonsense")
    with pytest.raises(OutputError, match="ffmpeg failed") as caught:
        animate(states, tmp_path / "a.mp4", seconds=0.2)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
