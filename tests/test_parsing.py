"""Numbers and JSON from outside: bounded, and refused with one kind of error."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest

from chain_of_zoom.parsing import (
    is_text,
    parse_json,
    parse_number,
    parse_whole,
    plain,
    printable,
    read_text,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.62", Fraction(31, 50)), (" 3 ", 3), ("1/3", Fraction(1, 3)), ("1e5", 100_000), ("-2.5E-1", Fraction(-1, 4)),
        ("1e99", 10**99), (".5", Fraction(1, 2)),
    ],
)  # fmt: skip
def test_numbers_are_exact(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "nan", "inf", "1/0", "1,5", "0x10", "1e999999999", "1e-400000000", "1e9_9_9_9", "1E+100", "9" * 5000],
)
def test_no_numbers_are_refused_at_once(text):
    started = time.process_time()
    with pytest.raises(ValueError):  # noqa: PT011
        parse_number(text)
    assert time.process_time() - started < 0.1


def test_whole_numbers():
    assert [parse_whole(text) for text in ("7", "0", "-1", "1.0", "", "²", "9" * 5000)] == [7, 0] + [None] * 5


@pytest.mark.parametrize("data", [b'"\xff"', b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"{", b"", b'"\\ud800"'])
def test_what_is_no_json_is_one_kind_of_error(data):
    with pytest.raises(msgspec.DecodeError):
        parse_json(data, object)


def test_texts_without_an_end_are_no_texts(tmp_path, monkeypatch):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_text(tmp_path / "a.toml") == "a = 1"
    monkeypatch.setattr("chain_of_zoom.parsing.MAX_BYTES", 1000)
    if Path("/dev/zero").exists():
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            read_text(Path("/dev/zero"))


def test_numbers_of_numpy_become_pythons_own():
    values = plain((np.float32(8), np.int64(3), np.array([0.5, 0.25]), [np.uint8(1)], Fraction(1, 2), "x", None, 7))
    assert values == (8.0, 3, [0.5, 0.25], (1,), 0.5, "x", None, 7)
    assert [type(value) for value in values[:2]] == [float, int]


def test_texts_that_can_be_written_down():
    assert [is_text(text) for text in ("moss", "Ω", "a\0b", "caf\udce9", "\ud800")] == [True, True, False, False, False]
    assert printable("caf\udce9\ud800.png") == "caf\ufffd\ufffd.png"
