"""What a user would pick for the job, and ours: how each is set up, run and re-keyed."""

from typing import Final

from benchmarks.peers.base import Peer, Setup, Started
from benchmarks.peers.envoy import Envoy
from benchmarks.peers.handler import Handler
from benchmarks.peers.haproxy import HAProxy
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.ours import Ours

__all__ = ["PEERS", "Ours", "Peer", "Setup", "Started"]

PEERS: Final[dict[str, Peer]] = {
    peer.name: peer for peer in (Nginx(), HAProxy(), Envoy(), Handler(), Ours())
}
"""By name, in the order in which tables list them."""
