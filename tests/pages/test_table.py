from __future__ import annotations

from chain_of_zoom.pages.table import format_markdown_table, format_plain_table

ROWS = [["name", "a", "long heading"], ["much longer", "1", ""], ["x", "12.5", "3"]]


def test_numbers_end_below_each_other():
    assert format_plain_table(ROWS) == [
        "name            a  long heading",
        "much longer     1",
        "x            12.5             3",
    ]


def test_texts_begin_below_each_other():
    assert format_plain_table(ROWS, left_columns=3)[2] == "x            12.5  3"


def test_markdown():
    assert format_markdown_table(ROWS[:2]) == ("| name | a | long heading |\n|---|---|---|\n| much longer | 1 |  |\n")


def test_cells_of_markdown_stay_cells():
    assert format_markdown_table([["a"], ["x|y\n| z <script>"]]).splitlines()[-1] == r"| x\|y \| z &lt;script> |"
