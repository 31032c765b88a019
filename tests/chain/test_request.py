from __future__ import annotations

import inspect
from fractions import Fraction

import pytest

import chain_of_zoom
from chain_of_zoom.chain.request import FIELDS, ZoomRequest, ZoomSettings, make_request, parse_size, parse_zoom
from chain_of_zoom.errors import UsageError
from chain_of_zoom.imaging.geometry import Size
from chain_of_zoom.settings import list_flags, read_field_docs

PICTURE = Size(1000, 500)


def test_fractions_and_pixels_name_the_same_spot():
    by_fraction = ZoomRequest(at="0.25,0.4", zoom=4).aim(PICTURE)
    by_pixel = ZoomRequest(at="250px, 200px", zoom=4).aim(PICTURE)
    assert by_fraction == by_pixel
    assert by_fraction.spot == (250, 200)


def test_the_centre_at_16x_by_default():
    aim = ZoomRequest().aim(PICTURE)
    assert aim.spot == (500, 250)
    assert aim.magnification == 16


def test_a_box_is_the_final_window():
    aim = ZoomRequest(box="100,50,300,150").aim(PICTURE)
    assert aim.output == (512, 256)
    assert aim.spot == (200, 100)
    assert aim.window_size(aim.magnification) == (200, 100)
    assert ZoomRequest(box="0.1,0.1,0.3,0.3").aim(PICTURE) == aim


def test_a_box_of_another_shape_than_the_size_is_widened():
    aim = ZoomRequest(box="100,50,300,150", size=(512, 512)).aim(PICTURE)
    assert aim.window_size(aim.magnification) == (200, 200)
    with pytest.raises(UsageError, match="no window of shape"):
        ZoomRequest(box="0,0,1000,500", size=(512, 512)).aim(PICTURE)


@pytest.mark.parametrize("picture", [Size(333, 100), Size(1, 1), Size(7, 400), Size(1023, 1024)])
def test_a_box_may_be_the_whole_picture_or_one_pixel_of_it(picture):
    whole = ZoomRequest(box=f"0,0,{picture.width}px,{picture.height}px").aim(picture)
    assert whole.magnification == 1
    pixel = ZoomRequest(box="0px,0px,1px,1px").aim(picture)
    assert pixel.window_size(pixel.magnification) == (1, 1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"at": "1.2,0.5"}, "outside"),
        ({"at": "-0.1,0.5"}, "outside"),
        ({"at": "1200px,0px"}, "outside"),
        ({"at": "0.5"}, "not 2 numbers"),
        ({"at": "a,b"}, "not 2 numbers"),
        ({"at": "nan,0"}, "not 2 numbers"),
        ({"at": "1/0,0"}, "not 2 numbers"),
        ({"box": "300,50,100,150"}, "empty"),
        ({"box": "0,0,2000,10"}, "outside"),
        ({"zoom": float("inf")}, "inf"),
        ({"zoom": 0.0}, "--zoom 0"),
        ({"zoom": 1e12}, "--zoom 1e"),
    ],
)
def test_what_does_not_fit_the_picture(settings, says):
    with pytest.raises(UsageError, match=says):
        ZoomRequest(**settings).aim(PICTURE)


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "both"},
        {"protocol": "mine"},
        {"seed": -1},
        {"size": (0, 0)},
        {"size": (10**6, 10)},
        {"box": "0,0,1,1", "zoom": 4},
        {"protocol": "paper", "at": "0.5,0.5"},
        {"protocol": "paper", "size": (512, 512)},
        {"protocol": "paper", "box": "0,0,9,9"},
        {"protocol": "paper", "zoom": 8},
        {"protocol": "paper", "zoom": 1024},
    ],
)
def test_what_makes_no_sense_at_all(settings):
    with pytest.raises(UsageError):
        ZoomRequest(**settings)


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "much", "0.99"])
def test_a_zoom_that_is_none(text):
    with pytest.raises(UsageError, match="--zoom"):
        parse_zoom(text)


def test_parsing():
    assert parse_zoom("64x") == 64
    assert parse_zoom(" 7.5") == 7.5
    assert parse_size("768X512") == (768, 512)
    with pytest.raises(UsageError, match="--size"):
        parse_size("768")


def test_a_decimal_magnification_is_exact():
    assert ZoomRequest(zoom=7.81).aim(PICTURE).magnification == Fraction("7.81")


def test_every_field_is_a_keyword_of_python_an_option_and_documented():
    keywords = ["at", *(FIELDS.get(name, name) for name in ZoomSettings.__annotations__)]
    fields = list(ZoomRequest.__struct_fields__)
    assert sorted(keywords) == sorted(list_flags(ZoomRequest)) == sorted(read_field_docs(ZoomRequest)) == sorted(fields)
    parameters = inspect.signature(chain_of_zoom.zoom).parameters
    for name in ZoomSettings.__annotations__:
        assert parameters[name].default == getattr(ZoomRequest(), FIELDS.get(name, name))


def test_an_unknown_keyword_is_answered_with_the_nearest():
    with pytest.raises(TypeError, match=r"zoom\(\) got an unexpected keyword argument 'magnify'; did you mean magnif"):
        make_request(magnify=4)
