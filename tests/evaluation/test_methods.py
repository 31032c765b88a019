"""Methods in one line: read as documented, refused in one line, built with the right weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain_of_zoom.errors import MissingError, UsageError
from chain_of_zoom.evaluation.methods import WRONG, WRONG_TEXTS, Method, build_chains, parse_method, parse_methods
from chain_of_zoom.plugins import PROMPTERS
from chain_of_zoom.weights.presets import ALIGNED


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("realsr", ("realsr", "chain", None, None)),
        ("realsr:direct", ("realsr", "direct", None, None)),
        ("osediff-sd3+null", ("osediff-sd3", "chain", "null", None)),
        ("osediff-sd3+vlm@multi", ("osediff-sd3", "chain", "vlm", True)),
        ("osediff-sd3+vlm@single", ("osediff-sd3", "chain", "vlm", False)),
        ("osediff-sd3:direct+dape", ("osediff-sd3", "direct", "dape", None)),
        ("osediff-sd3+vlm-adapter", ("osediff-sd3", "chain", "vlm-adapter", None)),
        ("fake:chain+wrong", ("fake", "chain", "wrong", None)),
    ],
)
def test_the_grammar(text, means):
    method = parse_method(text)
    assert (method.backbone, method.mode, method.writer, method.multi_scale) == means
    assert method.name == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("relsr", "did you mean realsr?"),
        ("realsr:dirct", "did you mean direct?"),
        ("realsr:1.5", "share of the detail from 0 to 1"),
        ("realsr:0.5:0.7", "each thing once"),
        ("realsr:chain:direct", "each thing once"),
        ("fake+dap", "did you mean dape?"),
        ("fake+vlm@mult", "did you mean multi?"),
        ("realsr+vlm", "reads no prompts"),
        ("fake+dape@multi", "looks at one picture"),
        ("a b=realsr", "label"),
        ("zzz", "accepted: realsr"),
        ("", "empty"),
        ("realsr,realsr", "share a name"),
        ("realsr:direct,x=bicubic,realsr_direct=realsr", "share a name"),
    ],
)
def test_mistakes_say_what_is_accepted(text, says):
    with pytest.raises(UsageError, match=says.replace("?", r"\?")):
        parse_methods(text)


def test_a_label_sets_the_same_method_apart():
    one, other = parse_methods("fake+null, trimmed=fake+null")
    assert (one.name, other.name) == ("fake+null", "trimmed")
    assert one.backbone == other.backbone == "fake"


@given(
    st.sampled_from(["fake", "osediff-sd3"]),
    st.sampled_from(["", ":direct"]),
    st.sampled_from([*PROMPTERS, ALIGNED, WRONG]),
)
def test_folders_are_safe_and_differ(backbone, mode, writer):
    method = parse_method(f"{backbone}{mode}+{writer}")
    assert set(method.folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
    assert method.folder != parse_method(f"{backbone}{mode}").folder


def test_wrong_words_are_of_the_list_and_stay_with_the_picture():
    method = parse_method("fake+wrong")
    texts = {name: method.user_text(name) for name in map(str, range(50))}
    assert set(texts.values()) == set(WRONG_TEXTS)
    assert texts == {name: method.user_text(name) for name in texts}
    assert parse_method("fake+null").user_text("1") == ""


def test_methods_share_what_they_have_in_common():
    chains = build_chains(
        parse_methods("fake,fake:direct,fake+wrong,animevideo,one=animevideo"), {"one": {"backbone": {"threads": 1}}}
    )
    assert chains["fake"].backbone is chains["fake:direct"].backbone is chains["fake+wrong"].backbone
    assert chains["animevideo"].backbone is not chains["one"].backbone
    assert chains["one"].options == {"backbone": {"threads": "1"}, "prompter": {}}


def test_absent_weights_of_the_paper_are_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("COZ_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="sd3") as caught:
        build_chains(parse_methods("osediff-sd3+dape"), {})
    assert "ram" in str(caught.value)
    assert "coz models get" in str(caught.value)


def test_only_what_is_absent_and_needed_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("COZ_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        build_chains([Method(name="fake+vlm", backbone="fake", writer="vlm")], {})
    assert "qwen" in str(caught.value)
    assert "sd3" not in str(caught.value)


def test_a_method_may_be_held_back():
    method = parse_method("half=span:direct:0.5:faithful")
    assert (method.backbone, method.mode, method.detail, method.faithful) == ("span", "direct", 0.5, True)
    assert parse_method("span:faithful").detail == 1
