"""Rate limit: a bucket of tokens for every client."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

SEARCH_COST = 1.0
OTHER_COST = 0.05  # photos and the page's own files: twenty of them are one search


class TokenBuckets:
    """Lets every client have `burst` tokens at once and `rate` a second in the long run.

    Remembers the `clients` that came last. Forgetting one gives it a full bucket, which is what
    it would have after a rest anyway.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clients: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self.burst = burst
        self.clients = clients
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str, cost: float) -> float:
        """Takes tokens; returns 0, or takes none and returns the seconds until there are enough."""
        now = self._clock()
        tokens, then = self._buckets.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        wait = max(0.0, (cost - tokens) / self.rate)
        self._buckets[client] = (tokens if wait else tokens - cost, now)
        if len(self._buckets) > self.clients:
            self._buckets.popitem(last=False)
        return wait


def client_key(address: str) -> str:
    """Whose bucket an address draws on: its own, or that of its /64 network for IPv6.

    A subscriber commands a whole /64, so every address of it has to count as the same.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or a test
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(ip), 64), strict=False))
        ip = ip.ipv4_mapped
    return str(ip)
