"""Our own advert: what this peer has to give, versioned, said when it changes and before it lapses.

A sample comes every few seconds; a new version is said at once at the start, then when a coarse value has changed, at
most every ten seconds, and in any case before the last one lapses at the others. Gossip carries every version; the
DHT, which is asked who and where a peer is and what it can run, gets one each half hour, or at once when that changes:
putting it is a lookup among strangers, a hundred times as dear as a rumor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from p2pcpn import limits
from p2pcpn.protocol.setup import Setup
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Advert, Signed, signed

ADVERT_SALT = b"advert"
# An advert is forgotten after so many of the times between two.
ADVERT_LIVES = 3
ADVERT_WAIT_S = 10.0
# Where many peers are known each tells of a change more rarely: a rumor costs every peer that it reaches a kilobyte, so
# this bounds what adverts cost one peer to 500 B/s, however many there are and however restless their machines.
ADVERT_WAIT_S_PER_PEER = 2.0
# A version is put in the DHT again this often: at most 2,700 s later with the next that is said, so always before
# holders would pass on the last one by themselves (0.8 hours). It is kept for so many of these times.
PUBLISH_S = limits.REFRESH_S / 2
PUBLISHED_LIVES = 3
# What changes all the time, and is of no use an hour later.
FLEETING = ("version", "ttl_s", "slots_free", "memory_free_bytes", "load", "position", "rtt_ms")
# What a version that only repeats the last one may say in other words: whether slots are free somebody may wait for.
RESTLESS = tuple(name for name in FLEETING if name != "slots_free")
# For the same reason what has not changed is said again more rarely where many are known, up to so many times: an
# advert costs the swarm some 180 datagrams. 2,400 s at most: before holders would pass on what they keep of it.
ADVERT_AGAIN_S_PER_PEER = 8.0
ADVERT_RARER_MAX = 8.0
# Who says what it is for the first time knows nobody yet: as if that were all there are it said so again after five
# minutes, and was told on by a whole neighbourhood. So its first version lives as long as any, and the next is due by
# how many are known then. A moment is less than two readings of a clock may differ in their last digits.
MOMENT_S = 1e-3


@dataclass(frozen=True, slots=True)
class Said:
    """A new version, to be told; ``published_s``: and to be kept in the DHT for so long, unless that is 0.

    It ``repeats`` what was said last where nothing has changed.
    """

    advert: Advert
    signed: Signed
    now: float
    published_s: float
    repeats: bool


class Announcement:
    """See the module. ``slots_free()`` and ``rtt_s()`` are asked when a version is made; ``known()`` counts the peers
    that adverts were heard of."""

    def __init__(
        self,
        setup: Setup,
        contact: Contact,
        *,
        slots_free: Callable[[], int],
        rtt_s: Callable[[], float | None],
        known: Callable[[], int],
    ) -> None:
        self._setup = setup
        self._contact = contact
        self._slots_free = slots_free
        self._rtt_s = rtt_s
        self._known = known
        self._roles = setup.roles
        self._slots = setup.slots
        self._sample: Advert | None = None
        self._at: float | None = None
        self._news = True  # what is due is no mere repetition
        self._first_s = 0.0  # when the first version was said
        self._version = 0
        self._said: Advert | None = None
        self._published: Advert | None = None  # as the DHT has it, without what is fleeting
        self._publish_at = 0.0
        self.signed: Signed | None = None
        self.load = 0.0  # the share of our cores that others' processes use, as last sampled

    def sampled(self, sample: Advert, now: float, *, changed: bool) -> Said | None:
        """The newest sample; ``changed`` when a coarse value of it has. Returns the version that is due, if one is."""
        self.load, self._sample = sample.load, sample
        if not self._version:
            self._at = now
        elif changed:
            due = now + max(ADVERT_WAIT_S, ADVERT_WAIT_S_PER_PEER * self._known())
            self._at = due if self._at is None else min(self._at, due)
            self._news = True
        return self.expire(now)

    def restated(self, roles: int, now: float) -> Said | None:
        """This peer has other roles from now on, which is said at once."""
        self._roles = roles
        if self._sample is not None:
            self._at, self._news = now, True
        return self.expire(now)

    def resized(self, slots: int, now: float) -> Said | None:
        """This peer has another number of slots from now on, which is said as soon as adverts may be."""
        self._slots = slots
        return self.sampled(self._sample, now, changed=True) if self._sample is not None else None

    def deadline(self) -> float | None:
        """When the next version is due."""
        return self._at

    def expire(self, now: float) -> Said | None:
        """The next version, when it is due."""
        if self._at is None or now < self._at or self._sample is None:
            return None
        setup = self._setup
        wait_s = again_s(setup.pulse.advert_s, self._known())
        if self._version == 1 and not self._news and now + MOMENT_S < self._first_s + wait_s:
            self._at = self._first_s + wait_s
            return None
        self._version += 1
        unasked, self._news = not self._news, False
        lives_s = ADVERT_LIVES * wait_s
        if self._version == 1:
            self._first_s, lives_s = now, ADVERT_LIVES * ADVERT_RARER_MAX * setup.pulse.advert_s
        advert = msgspec.structs.replace(
            self._sample, version=self._version, contact=self._contact, boot=setup.boot, roles=self._roles,
            ttl_s=lives_s, slots=self._slots, slots_free=self._slots_free(),
            rtt_ms=(self._rtt_s() or 0.0) * 1e3,
        )  # fmt: skip
        self.signed = signed(advert, setup.keypair)
        self._at = now + wait_s
        repeated = unasked and self._said is not None and repeats(advert, self._said)
        self._said = advert
        return Said(advert, self.signed, now, self._publish(advert, now), repeated)

    def _publish(self, advert: Advert, now: float) -> float:
        """For how long the DHT is to keep this version; 0 where it has one that will do."""
        lasting = msgspec.structs.replace(advert, **dict.fromkeys(FLEETING, 0))
        if lasting == self._published and now < self._publish_at:
            return 0.0
        wait_s = max(self._setup.pulse.advert_s, PUBLISH_S)
        self._published, self._publish_at = lasting, now + wait_s
        return PUBLISHED_LIVES * wait_s


def repeats(advert: Advert, before: Advert) -> bool:
    """Whether ``advert`` says, in the same boot, nothing but what ``before`` said."""
    same = dict.fromkeys(RESTLESS, 0)
    return advert.boot == before.boot and msgspec.structs.replace(advert, **same) == msgspec.structs.replace(
        before, **same
    )


def again_s(usual_s: float, known: int) -> float:
    """How long after a version the next is said where nothing changes and ``known`` peers are known."""
    return min(ADVERT_RARER_MAX * usual_s, max(usual_s, ADVERT_AGAIN_S_PER_PEER * known))
