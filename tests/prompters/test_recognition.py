"""The prompter `words`: its network against torch, its vocabulary, and what it says of real photos."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Coz, noise
from PIL import Image

from chain_of_zoom import load_prompter
from chain_of_zoom.errors import MissingError, ShortageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.imaging.images import RGB8, resize
from chain_of_zoom.prompters.base import LETTERS, LETTERS_WARNING, PromptContext
from chain_of_zoom.prompters.recognition import network, prompter
from chain_of_zoom.prompters.recognition.network import SIDE, FeatureNetwork, prepare
from chain_of_zoom.prompters.recognition.prompter import MOST_WORDS, NOTHING, Recognizer
from chain_of_zoom.prompters.recognition.vocabulary import OBJECTS, class_numbers

# The highest classes of examples/astronaut.png, and two others, by the package's weights in torch.
TORCH_LOGITS = {450: 6.781, 560: 6.614, 573: 5.363, 422: 4.783, 830: 4.767, 625: 4.734, 0: -1.28, 999: -1.697}


@pytest.fixture(scope="module")
def words() -> Recognizer:
    recognizer = Recognizer()
    recognizer.load()
    return recognizer


def context(picture: RGB8, left: int, top: int, side: int) -> PromptContext:
    """The step in which a quarter of a state is enlarged: a parent of side x side and its middle."""
    parent = picture[top : top + side, left : left + side]
    quarter = side // 4
    start = (side - quarter) // 2
    window = parent[start : start + quarter, start : start + quarter]
    return PromptContext([resize(parent, Size(512, 512), "bicubic")], resize(window, Size(512, 512), "bicubic"), 4.0)


def test_the_network_computes_what_torch_computes(astronaut: RGB8):
    """The classes of the published weights in torch (float32); convolutions here are fp16, the classifier int8."""
    recognizer = Recognizer()
    heads = recognizer._heads
    features = FeatureNetwork()(astronaut)
    logits = (heads["classes"].astype(np.float32) @ features) * heads["class_scales"] + heads["class_bias"]
    np.testing.assert_allclose(logits[list(TORCH_LOGITS)], list(TORCH_LOGITS.values()), atol=0.06)
    assert int(logits.argmax()) == 450


def test_pictures_are_scaled_as_the_weights_were_trained():
    values = prepare(np.full((30, 50, 3), (127, 255, 0), dtype=np.uint8))
    assert values.shape == (3, SIDE, SIDE)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, 7, 9], (0, 1, -127 / 128))


def test_a_class_has_one_word():
    numbers = [number for word in OBJECTS for number in class_numbers(word)]
    assert len(numbers) == len(set(numbers))
    assert 0 <= min(numbers) <= max(numbers) < 1000
    assert class_numbers("coral") == (108, 109, 973)


def test_materials_and_objects_share_no_word(words: Recognizer):
    materials = [str(name) for name in words._heads["materials"]]
    assert NOTHING in materials
    assert not set(materials) & set(OBJECTS)


def test_a_face_has_no_word(astronaut: RGB8, words: Recognizer):
    for left, top, side in ((176, 60, 128), (160, 32, 192), (200, 100, 64), (208, 70, 48), (0, 0, 512)):
        assert words([context(astronaut, left, top, side)]) == [""], (left, top, side)


def test_a_cat_and_a_cup_are_seen(words: Recognizer):
    data = pytest.importorskip("skimage.data")
    assert words([context(data.chelsea(), 150, 0, 300), context(data.coffee(), 100, 0, 400)]) == ["cat", "cup"]


def test_a_cat_is_a_cat_or_nothing(words: Recognizer):
    data = pytest.importorskip("skimage.data")
    cat = data.chelsea()
    for left, top, side in ((60, 0, 300), (100, 20, 200), (130, 60, 128)):
        assert set(words([context(cat, left, top, side)])[0].split(", ")) <= {"cat", ""}


def test_a_cup_is_a_cup_or_nothing(words: Recognizer):
    data = pytest.importorskip("skimage.data")
    coffee = data.coffee()
    for left, top, side in ((100, 0, 400), (200, 100, 200), (0, 0, 200), (0, 260, 128)):
        spoken = set(words([context(coffee, left, top, side)])[0].split(", "))
        assert spoken <= {"cup", "wood", ""}, (left, top, side)


def test_named_materials(words: Recognizer):
    data = pytest.importorskip("skimage.data")
    for name, accepted in (("brick", {"brick"}), ("grass", {"grass"}), ("gravel", {"stone"})):
        picture = np.repeat(getattr(data, name)()[..., None], 3, axis=2)
        spoken = set(words([context(picture, 0, 0, 512)])[0].split(", "))
        assert spoken <= accepted | {""}, name


@pytest.mark.parametrize(
    "picture", [noise(64, 64), np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64, 3), np.uint8)]
)
def test_nothing_to_see_is_nothing_to_say(picture: RGB8, words: Recognizer):
    assert words([context(picture, 0, 0, 64)]) == [""]


def test_confidences(words: Recognizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompter, "OBJECT_THRESHOLD", 0.0)
    spoken = words.recognize(context(noise(64, 64), 0, 0, 64))
    assert len(spoken) == MOST_WORDS
    assert [word.confidence for word in spoken] == sorted((word.confidence for word in spoken), reverse=True)
    assert all(0 <= word.confidence <= 1 for word in spoken)


@pytest.mark.slow
def test_both_pictures_are_looked_at_and_no_other(astronaut: RGB8, words: Recognizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompter, "OBJECT_THRESHOLD", 0.0)
    plain = context(astronaut, 0, 0, 512)
    other = PromptContext([noise(64, 64)], plain.zoomed, 4.0)
    assert words.recognize(plain) != words.recognize(other)
    longer = PromptContext([noise(64, 64), *plain.states], plain.zoomed, 16.0)
    assert words.recognize(plain) == words.recognize(longer)
    assert words([plain, other, plain]) == [*words([plain]), *words([other]), *words([plain])]
    assert words([]) == []


def test_the_record_names_the_weights():
    recognizer = load_prompter("words")
    assert recognizer.name == "words"
    digests = recognizer.weights_sha256()
    assert digests["weights"] == hashlib.sha256(network.WEIGHTS.read_bytes()).hexdigest()
    assert sorted(digests) == ["heads", "letters", "network", "weights"]


def test_damaged_weights(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompter, "HEADS", tmp_path / "heads.npz")
    with pytest.raises(MissingError, match=r"heads\.npz cannot be read .*; type: pip install"):
        Recognizer().load()
    monkeypatch.setattr(network, "WEIGHTS", tmp_path / "lite0.bin")
    with pytest.raises(MissingError, match="are not there"):
        FeatureNetwork()


def test_short_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "lack_of_memory", lambda *_: "1 GB needed, 1 MB allowed")
    with pytest.raises(ShortageError, match="not enough memory for the prompter words"):
        FeatureNetwork()


@pytest.mark.slow
def test_no_torch_at_run_time():
    code = (
        "import sys, numpy; from chain_of_zoom import load_prompter; "
        "from chain_of_zoom.prompters.base import PromptContext as C; p = numpy.zeros((8, 8, 3), numpy.uint8); "
        "print(load_prompter('words')([C([p], p, 4.0)]), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[''] False\n"


@pytest.mark.slow
def test_a_zoom_records_the_words_and_says_that_the_backbone_ignores_them(coz: Coz, tmp_path: Path):
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.coffee()).save(tmp_path / "coffee.png")
    done = coz("zoom", "coffee.png", "--prompter", "words", "--backbone", "bicubic", "--zoom", "16", "-o", "out")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["prompter"] == "words"
    assert sorted(record["prompter_sha256"]) == ["heads", "letters", "network", "weights"]
    made = record["states"][1:]
    assert {state["prompter"] for state in made} == {"words"}
    assert not any(state["prompt_used"] for state in made)
    assert "cup" in {state["prompt"] for state in made}
    for state in made:
        assert ", ".join(state["prompt_confidences"]) == state["prompt_raw"]
        assert all(0.3 < confidence <= 1 for confidence in state["prompt_confidences"].values())
    assert record["states"][0]["prompt_confidences"] is None
    assert all(state["prompt"] or "the prompter found no words" in state["fallbacks"] for state in made)
    assert "bicubic ignores prompts; the text is recorded and was not used" in done.stdout


@pytest.mark.slow
def test_faces_have_no_words(words: Recognizer):
    data = pytest.importorskip("skimage.data")
    for face in data.lfw_subset()[:100:12]:
        picture = np.repeat((face * 255).astype(np.uint8)[..., None], 3, axis=2)
        assert words([context(resize(picture, Size(512, 512), "bicubic"), 0, 0, 512)]) == [""]


@pytest.mark.slow
def test_letters_are_said_of_a_page_and_not_of_a_face_or_a_wall(words: Recognizer):
    """Pictures that the head was not fitted to; `benchmarks/words/letters.py` has the shares over many windows."""
    data = pytest.importorskip("skimage.data")
    page = np.repeat(data.page()[..., None], 3, axis=2)
    said = [
        LETTERS in words([context(np.ascontiguousarray(pixels), x, y, 128)])[0].split(", ")
        for pixels, x, y in ((page, 20, 20), (page, 150, 40), (data.astronaut(), 150, 60), (data.chelsea(), 100, 100))
    ]
    assert said == [True, True, False, False]


@pytest.mark.slow
def test_a_zoom_into_letters_has_a_line_about_them(coz: Coz, tmp_path: Path):
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.page()).save(tmp_path / "page.png")
    options = ("--prompter", "words", "--zoom", "8", "--size", "96x64", "--no-animate")
    for backbone, count in (("fake", 1), ("bicubic", 0)):
        done = coz("zoom", "page.png", *options, "--backbone", backbone, "-o", backbone)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / backbone / "record.json").read_text())
        assert (sum(LETTERS_WARNING in state["fallbacks"] for state in record["states"]) >= 1) == bool(count)
        assert (LETTERS_WARNING in done.stdout) == bool(count)
