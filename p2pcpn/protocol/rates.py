"""Token buckets: how much work others may make us do, in all and for each network group.

The group keeps one network from spending what is there for all; the bucket for all bounds the cost however many
networks an attacker has. Groups are forgotten, the least recently used first, past
:data:`p2pcpn.limits.HELLO_GROUPS_MAX`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import ip_address, ip_network

from p2pcpn import limits
from p2pcpn.wire.addresses import Address


def group_of(address: Address) -> str:
    """The network an address belongs to: its /24, or its /48 over IPv6."""
    host = ip_address(address[0].partition("%")[0])
    return str(ip_network((host, 24 if host.version == 4 else 48), strict=False))


class Bucket:
    """``rate`` tokens a second flow in, at most ``burst`` lie in it; it starts full."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        """Whether there was a token to take."""
        if now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Allowance:
    """What all may cost together and each group alone, per second; bursts of one second's worth."""

    __slots__ = ("_all", "_groups", "_rate_of_one")

    def __init__(self, rate: float, rate_of_one: float) -> None:
        self._all = Bucket(rate, rate)
        self._rate_of_one = rate_of_one
        self._groups: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, group: Hashable, now: float) -> bool:
        """Whether ``group`` may have one more."""
        bucket = self._groups.get(group)
        if bucket is None:
            bucket = self._groups[group] = Bucket(self._rate_of_one, self._rate_of_one)
            if len(self._groups) > limits.HELLO_GROUPS_MAX:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        return bucket.take(now) and self._all.take(now)

    def __len__(self) -> int:
        return len(self._groups)
