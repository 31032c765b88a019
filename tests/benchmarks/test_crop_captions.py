"""The measurement of captions runs, and its patterns are what it says."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import ROOT

torch = pytest.importorskip("torch", reason="needs the extra [train]")
pytest.importorskip("diffusers", reason="needs the extra [train]")

sys.path.insert(0, str(ROOT / "benchmarks"))
import crop_captions  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def test_patterns_are_told_apart_by_words_alone_and_both_kinds_of_captions_are_measured(capsys, monkeypatch):
    patterns = crop_captions.PATTERNS
    assert max(abs(pattern.reshape(2, 4, 2, 4).mean((1, 3))).max() for pattern in patterns) < 1e-6
    assert min(abs(patterns[i] - patterns[j]).mean() for i in range(6) for j in range(i)) > 0.2
    monkeypatch.setattr(crop_captions, "STEPS", 1)
    monkeypatch.setattr(crop_captions, "AUTOENCODER_STEPS", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny operations wait longer for other threads than they take
    crop_captions.main(1)
    torch.set_num_threads(threads)
    lines = re.findall(
        r"captions of (crops|pictures) +followed \d\.\d\d  r -?\d\.\d\d, others", capsys.readouterr().out
    )
    assert lines == ["crops", "pictures"]
