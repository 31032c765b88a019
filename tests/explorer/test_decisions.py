"""Words, alternatives and branches: what a person decides about one tile changes it and what grows from it, alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from explorer.sessions import Namer, SmallTiles, opened_session, photo_pixels, plant, wait_for
from explorer.test_server import ask, make_server
from hypothesis import given, settings
from hypothesis import strategies as st

from chain_of_zoom.errors import UsageError
from chain_of_zoom.explorer import branches
from chain_of_zoom.explorer.branches import BranchShelf, Decision, add_decision, name_branch
from chain_of_zoom.explorer.grid import SightRect, TilePlace
from chain_of_zoom.explorer.session import ExplorerSession
from chain_of_zoom.explorer.tree import TileRecipe, ZoomTree
from chain_of_zoom.imaging.images import RGB8, RGBF, decode_png, enlarge
from chain_of_zoom.imaging.metadata import PROGRAM
from chain_of_zoom.prompters.fixed import Fixed

FAKE = SmallTiles()
PLACE = TilePlace(2, 1, 1)


def list_pieces(tree: ZoomTree, place: TilePlace) -> set[TilePlace]:
    """The tiles of whose making a tile depends: those that it fades into, and all above them."""
    return set(tree.grid.blending(place)).union(*(list_pieces(tree, parent) for parent in tree.grid.parents(place)))


@given(
    decided=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 99), st.integers(0, 99)), max_size=4),
    looked=st.tuples(st.integers(1, 4), st.integers(0, 99), st.integers(0, 99)),
)
@settings(max_examples=40)
def test_a_decision_changes_the_names_of_its_tile_and_of_what_grows_from_it_alone(decided, looked, tmp_path_factory):
    _, tree = plant(tmp_path_factory.getbasetemp() / "names", FAKE, photo_pixels())

    def wrap(level: int, column: int, row: int) -> TilePlace:
        columns, rows = tree.grid.counts(level)
        return TilePlace(level, column % columns, row % rows)

    places = {wrap(*place) for place in decided}
    tiles = {place: TileRecipe(words="a wing", seed=0, turn="none") for place in places}
    branch = ZoomTree(tree.photo, tree.grid, tree.recipe, branch="b", tiles=tiles)
    place = wrap(*looked)
    is_touched = bool(places & list_pieces(tree, place))
    assert (branch.key(place) != tree.key(place)) == is_touched


@given(
    st.lists(
        st.builds(
            Decision,
            place=st.builds(TilePlace, st.integers(1, 3), st.integers(0, 2), st.just(0)),
            words=st.none() | st.text(max_size=5),
            candidate=st.none() | st.integers(1, 3),
        ),
        max_size=8,
    )
)
def test_a_branch_is_the_last_word_about_every_tile_in_whatever_order(decisions):
    latest: dict[TilePlace, Decision] = {}
    branch: branches.Decisions = ()
    for decision in decisions:
        latest[decision.place] = decision
        branch = add_decision(branch, decision)
    expected = [decision for decision in latest.values() if decision.words is not None or decision.candidate]
    assert {decision.place: decision for decision in branch} == {decision.place: decision for decision in expected}
    assert name_branch(branch) == name_branch(tuple(reversed(branch)))
    assert (name_branch(branch) == "") == (branch == ())


def test_the_prompter_looks_at_parent_and_window_and_its_words_are_kept(tmp_path):
    namer = Namer()
    maker, tree = plant(tmp_path, FAKE, photo_pixels(), prompter=namer)
    assert maker.find_words(tree, PLACE) is None
    maker.make(tree, PLACE)
    context = namer.contexts[-9:][4]  # of the nine windows that this tile fades between, its own
    assert context.states[-1].shape == (96, 96, 3)  # the tile above that holds the middle of the window
    assert context.zoomed.shape == (4 * 48, 4 * 48, 3)
    assert context.magnification == 16
    words = maker.find_words(tree, PLACE)
    assert words is not None
    assert (words.by, words.text) == (
        "namer",
        f"shade {int(context.zoomed.mean())} of {int(context.states[-1].mean())}",
    )
    plain, same = plant(tmp_path / "plain", FAKE, photo_pixels())
    plain.make(same, PLACE)
    assert (plain.pixels(same, PLACE) != maker.pixels(tree, PLACE)).any()


def test_a_restart_and_a_tile_that_was_removed_have_the_same_words(tmp_path):
    maker, tree = plant(tmp_path, FAKE, photo_pixels(), prompter=Namer())
    maker.make(tree, PLACE)
    data = maker.encode(tree, PLACE)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    silent = Fixed("other words", name="namer")
    again, same = plant(tmp_path, FAKE, photo_pixels(), prompter=silent)
    assert not again.has(same, PLACE)
    again.make(same, PLACE)
    assert again.encode(same, PLACE) == data


def open_tree(session: ExplorerSession, **options: Any) -> ZoomTree:
    return session.plant(next(iter(session.photos.values())), **options)


def make(session: ExplorerSession, tree: ZoomTree, place: TilePlace = PLACE) -> bytes:
    viewer = session.join(lambda event: None)
    columns, rows = tree.grid.counts(place.level)
    x, y = (place.column + 0.1) / columns, (place.row + 0.1) / rows
    sight = SightRect(x, y, x + 0.1 / columns, y + 0.1 / rows)
    session.look(viewer, tree, place.level, sight)
    wait_for(lambda: session.maker.has(tree, place))
    session.leave(viewer)
    data = session.maker.encode(tree, place)
    assert data is not None
    return data


def test_edited_words_grow_a_branch_and_the_old_one_stays(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles(), prompter=Namer()) as session:
        tree = open_tree(session)
        before = make(session, tree)
        branch = session.decide(tree, Decision(place=PLACE, words="a wing"))
        edited = make(session, branch)
        assert (decode_png(before) != decode_png(edited)).any()
        words = session.maker.find_words(branch, PLACE)
        assert (words.text, words.by) == ("a wing", "user") if words else False
        assert session.maker.encode(tree, PLACE) == before
        assert session.decide(branch, Decision(place=PLACE)).id == tree.id  # taken back
        older = session.decide(branch, Decision(place=PLACE, words="a leaf"))
        assert len({tree.id, branch.id, older.id}) == 3
        name = branch.branch
    with opened_session(tmp_path, photo_pixels(), SmallTiles(), prompter=Namer()) as session:
        tree = open_tree(session, branch=name)
        assert session.maker.has(tree, PLACE)
        assert session.maker.encode(tree, PLACE) == edited
        assert session.maker.encode(open_tree(session), PLACE) == before
        assert [latest[-1].words for _, latest in session.branches.list(tree.photo.id)] == ["a leaf", "a wing"]


def test_words_for_the_whole_tree_stand_instead_of_those_of_the_prompter(tmp_path):
    namer = Namer()
    with opened_session(tmp_path, photo_pixels(), SmallTiles(), prompter=namer) as session:
        tree = open_tree(session, words="a wing")
        make(session, tree)
        assert namer.contexts == []
        words = session.maker.find_words(tree, PLACE)
        assert (words.text, words.by) == ("a wing", "user") if words else False


def test_a_backbone_that_ignores_words_asks_nobody_and_says_so(tmp_path):
    namer = Namer()
    with opened_session(tmp_path, photo_pixels(), "bicubic", prompter=namer) as session:
        tree = open_tree(session)
        assert session.prompter_name == ""
        make(session, tree, TilePlace(1, 0, 0))
        assert namer.contexts == []
        with pytest.raises(UsageError, match="bicubic ignores words"):
            session.decide(tree, Decision(place=TilePlace(1, 0, 0), words="a wing"))
        with pytest.raises(UsageError, match="makes nothing up"):
            session.branch_out(tree, TilePlace(1, 0, 0), 2)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Decision(place=TilePlace(0, 0, 0), words="x"), "zoom in"),
        (Decision(place=TilePlace(2, 99, 0), words="x"), "zoom in"),
        (Decision(place=PLACE, words="x" * 2001), "shorten"),
        (Decision(place=PLACE, candidate=9), "1 to 8"),
    ],
)
def test_decisions_that_cannot_be(tmp_path, decision, reason):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session:
        with pytest.raises(UsageError, match=reason):
            session.decide(open_tree(session), decision)
        with pytest.raises(UsageError, match="not kept here"):
            open_tree(session, branch="0" * 32)
        assert not list(tmp_path.rglob("*.json"))


def test_limits_of_branches_and_a_file_that_says_another_thing(tmp_path, monkeypatch):
    shelf, photo = BranchShelf(tmp_path), "a" * 32
    decisions = (Decision(place=PLACE, words="a wing"),)
    name = shelf.write(photo, decisions)
    assert shelf.read(photo, name) == decisions
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(path.read_bytes().replace(b"wing", b"leaf"))
    with pytest.raises(UsageError):
        shelf.read(photo, name)
    monkeypatch.setattr(branches, "MAX_BRANCHES", 1)
    with pytest.raises(UsageError, match="--clear"):
        shelf.write(photo, (Decision(place=PLACE, words="bark"),))
    monkeypatch.setattr(branches, "MAX_DECISIONS", 1)
    with pytest.raises(UsageError, match="older branch"):
        add_decision(decisions, Decision(place=TilePlace(1, 0, 0), words="bark"))


def test_alternatives_side_by_side_and_one_is_chosen(tmp_path):
    namer = Namer()
    with opened_session(tmp_path, photo_pixels(), SmallTiles(), prompter=namer) as session:
        tree = open_tree(session)
        before = make(session, tree)
        trees = session.branch_out(tree, PLACE, 4)
        assert not session.branches.list(tree.photo.id)
        assert trees[0].key(PLACE) == tree.key(PLACE)  # the first is what is there
        heard: list[dict[str, Any]] = []
        viewer = session.join(heard.append)
        waiting = session.look(viewer, tree, 0, SightRect(0, 0, 1, 1), PLACE, [other.id for other in trees])
        assert waiting == 3
        wait_for(lambda: session.count_waiting() == 0)
        tiles = [session.maker.encode(other, PLACE) for other in trees]
        assert tiles[0] == before
        assert len({decode_png(data).tobytes() for data in tiles if data}) == 4
        assert {event["tree"] for event in heard if event["type"] == "tile"} == {other.id for other in trees[1:]}
        assert len(namer.contexts) == len({bytes(context.zoomed) for context in namer.contexts})  # asked once a tile
        chosen = session.decide(tree, Decision(place=PLACE, candidate=3))
        assert chosen.id == trees[2].id
        assert session.maker.encode(chosen, PLACE) == tiles[2]
        edited = session.decide(chosen, Decision(place=PLACE, words="a wing", candidate=3))
        assert [other.settle(PLACE).words for other in session.branch_out(edited, PLACE, 2)] == ["a wing"] * 2


def test_the_endpoints_of_a_tile(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles(), prompter=Namer()) as session:
        server = make_server(session)
        assert ask(server, "GET", "/api/session").json()["prompter"] == "namer"
        tree = open_tree(session)
        level = PLACE.level - tree.grid.shallowest
        path = f"/api/trees/{tree.id}/tiles/{level}/{PLACE.column}/{PLACE.row}"
        answer = ask(server, "GET", path).json()
        assert (answer["is_made"], answer["words"], answer["by"]) == (False, "", "namer")
        make(session, tree)
        answer = ask(server, "GET", path).json()
        assert answer["is_made"]
        assert answer["words"].startswith("shade")
        answer = ask(server, "PUT", path, json={"words": "a wing", "candidate": 2}).json()
        assert answer["branch"]
        decided = ask(server, "GET", path.replace(tree.id, answer["id"])).json()
        assert (decided["words"], decided["by"], decided["is_decided"]) == ("a wing", "user", True)
        branch, *none = ask(server, "GET", f"/api/trees/{tree.id}/branches").json()
        assert not none
        assert branch == {
            "name": answer["branch"], "decisions": 1, "scale": 16, "words": "a wing", "candidate": 2,
        }  # fmt: skip
        alternatives = ask(server, "GET", path + "/alternatives/3").json()
        assert [entry["is_current"] for entry in alternatives] == [True, False, False]
        assert ask(server, "GET", path + "/alternatives/7").status_code == 422
        assert ask(server, "GET", path + "/alternatives/x").status_code == 422
        assert ask(server, "PUT", path, json={"candidate": 0}).status_code == 422
        assert ask(server, "GET", path.replace(f"/{level}/", "/0/")).status_code == 404
        assert ask(server, "GET", path.replace(tree.id, "0" * 32)).status_code == 404
        photo = tree.photo.id
        assert ask(server, "POST", "/api/trees", json={"photo": photo, "branch": branch["name"]}).json() == answer
        assert ask(server, "POST", "/api/trees", json={"photo": photo, "branch": "../x"}).status_code == 422


def test_the_label_of_a_tile_has_its_words(tmp_path):
    maker, tree = plant(tmp_path, FAKE, photo_pixels(), words="a wing")
    maker.make(tree, PLACE)
    data = maker.encode(tree, PLACE)
    assert data is not None
    assert b'by the words "a wing"' in data
    assert PROGRAM.encode() in data


class Unseeded(SmallTiles):
    """Reads words and has no seeds, so that windows of the same words agree; counts what it makes."""

    info = replace(SmallTiles.info, seeded=False)
    count = 0

    def _enlarge(self, windows: list[RGB8], prompts: list[str], seeds: list[int]) -> list[RGBF]:
        self.count += 1
        plain = [enlarge(window, 4).astype(np.float32) / np.float32(255) for window in windows]
        return [pixels * (0.5 if prompt else 1) for pixels, prompt in zip(plain, prompts, strict=True)]


def test_tiles_fade_where_words_differ_and_take_one_pass_where_they_do_not(tmp_path):
    backbone, place = Unseeded(), TilePlace(1, 1, 0)
    pixels = np.full((40, 60, 3), 200, np.uint8)
    maker, tree = plant(tmp_path, backbone, pixels)
    maker.make(tree, place)
    assert backbone.count == 1
    assert (maker.pixels(tree, place) == 200).all()
    tiles = {TilePlace(1, 0, 0): TileRecipe(words="a wing", seed=0, turn="none")}
    branch = ZoomTree(tree.photo, tree.grid, tree.recipe, branch="b", tiles=tiles)
    backbone.count = 0
    maker.make(branch, place)
    assert backbone.count == 2  # the pieces on both sides; its own is held
    row = maker.pixels(branch, place)[10, :, 0].astype(int)
    assert row[0] < 105
    assert row[-1] == 200
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() <= 100 / 32 + 1
