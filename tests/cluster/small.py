"""A cluster of three nodes of one core on this machine, of real processes, which all tests of a process share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
S3 = f"http://127.0.0.1:{23_390 + 200 * WORKER}"
"""Where a test may start a server of object stores: nodes know it from the beginning."""
CLIENT_PORT = 23_391 + 200 * WORKER
"""Where the cluster speaks with Ray's client."""
S3_ENVIRONMENT = {
    "AWS_ENDPOINT_URL": S3,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# Ray reads these once in a process, when it is imported: a test that imports it without a cluster may come first.
os.environ |= {
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_health_check_period_ms": "1000",  # a lost node is missed after 5 of these, not 15
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",  # on a machine that is busy
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0" * 64,
    "RAY_USAGE_STATS_ENABLED": "0",
}
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


class SmallCluster:
    """A head and nodes of one core each, with ports of their own, since those that Ray chooses may clash."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._port = 23_400 + 200 * WORKER
        head = {**self._size(), "include_dashboard": False, "ray_client_server_port": CLIENT_PORT}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self._add() for _ in range(2)]
        self._cluster.wait_for_nodes(120)
        self.address = self._cluster.address

    def lose_node(self) -> None:
        """Kill a node; another one will come."""
        self._cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
        self.nodes.append(self._add())

    def close(self) -> None:
        self._cluster.shutdown()

    def _add(self) -> object:
        return self._cluster.add_node(**self._size(), wait=False)

    def _size(self) -> dict[str, int]:
        self._port += len(PORTS)
        ports = {name: self._port + offset for offset, name in enumerate(PORTS)}
        return {"num_cpus": 1, "object_store_memory": 80 << 20, **ports}


@pytest.fixture(scope="session")
def cluster() -> Iterator[SmallCluster]:
    """The cluster; every batch joins it, and leaves it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # of workers, which import the backbone
        for name, value in S3_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        cluster = SmallCluster()
        yield cluster
        cluster.close()
