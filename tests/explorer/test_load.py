"""Many clients at once, in small; `benchmarks/explore.py load` does it with two hundred."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT
from explorer.sessions import SmallTiles, opened_session, photo_pixels, served

from chain_of_zoom.explorer.client import ExplorerClient
from chain_of_zoom.explorer.scheduler import CLIENTS

sys.path.insert(0, str(ROOT / "benchmarks"))
from explore import let_walk, open_pages


@pytest.mark.slow
def test_many_clients_get_an_answer_each_and_every_tile_that_they_look_at_is_made(tmp_path):
    with opened_session(tmp_path, photo_pixels(), SmallTiles()) as session, served(session) as address:
        client = ExplorerClient(address)
        tree = client.plant(client.read_session().photos[0].id)
        viewers, refusals = open_pages(client, CLIENTS + 3)
        assert len(viewers) == CLIENTS
        assert [(refusal.status, refusal.retry_after) for refusal in refusals] == [(503, 10)] * 3
        statuses = let_walk(client, tree, viewers, clients=40, requests=10)
        assert {200, 202, 304} <= statuses.keys()
        metrics = client.read_metrics()
        assert metrics["coz_cache_tiles"] == len(session.store) > 10
        assert not [name for name in metrics if "failed" in name]
        assert metrics['coz_answers_total{status="304"}'] == statuses[304]
