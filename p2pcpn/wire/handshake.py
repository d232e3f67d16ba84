"""Who stands at the other end of a session: identities and versions carried by the Noise handshake.

Message 1 carries the versions the initiator speaks, messages 2 and 3 carry each side's :class:`Profile`. The static
X25519 key of the handshake must be the image of the Ed25519 key in the profile, so whoever finishes it holds that key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId, node_id, x25519_public
from p2pcpn.wire.codec import U16, U48, U63, Codec, Key
from p2pcpn.wire.noise import Noise

PROLOGUE: Final = b"p2pcpn/1"
# The swarm key of a swarm that has none.
OPEN_SWARM_KEY: Final = bytes(32)


class UnsupportedVersion(PeerError):
    """No version in common; ``versions`` are the lowest and highest the other side speaks."""

    def __init__(self, text: str, versions: tuple[int, int]) -> None:
        super().__init__(text)
        self.versions = versions


class Versions(msgspec.Struct, array_like=True, frozen=True):
    """The payload of message 1: the lowest and the highest version the initiator speaks."""

    versions_min: U16
    versions_max: U16


class Profile(msgspec.Struct, array_like=True, frozen=True):
    """What a node says of itself. ``key`` is its Ed25519 public key, ``port`` where it listens (0: nowhere)."""

    versions_min: U16
    versions_max: U16
    key: Key
    port: U16
    boot: U48
    puzzle: U63
    roles: U16


_VERSIONS: Codec[Versions] = Codec(Versions, limits.HANDSHAKE_BYTES_MAX, "handshake versions")
_PROFILE: Codec[Profile] = Codec(Profile, limits.HANDSHAKE_BYTES_MAX, "handshake profile")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a finished handshake yields. ``transcript`` is the handshake's hash: equal at both ends, unique."""

    send_key: bytes
    receive_key: bytes
    id: NodeId
    profile: Profile
    version: int
    transcript: bytes


class Handshake:
    """One side of a session's handshake, without I/O: ``write`` and ``read`` in turn until ``finished``.

    ``psk`` is the swarm key (32 bytes, zeros in an open swarm); ``expected`` is the only node the initiator would
    talk to; ``ephemeral_secret`` is 32 fresh random bytes.

    ``read`` raises :class:`PeerError`. Where a responder has no version in common with message 1, it still writes
    message 2, from which the initiator learns the versions it could have used; then ``refusal`` is set and the
    responder hangs up.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        me: Keypair,
        psk: bytes,
        profile: Profile,
        ephemeral_secret: bytes,
        expected: NodeId | None = None,
    ) -> None:
        assert profile.key == me.public
        self._noise = Noise(
            initiator=initiator,
            static_secret=me.x25519_secret,
            ephemeral_secret=ephemeral_secret,
            psk=psk,
            prologue=PROLOGUE,
        )
        self._initiator = initiator
        self._mine = profile
        self._expected = expected
        self._theirs: Profile | None = None
        self._announced: Versions | None = None  # by message 1, at the responder
        self._version = 0
        self.refusal: UnsupportedVersion | None = None

    @property
    def finished(self) -> bool:
        """Whether all three messages went by."""
        return self._noise.finished

    @property
    def writes_next(self) -> bool:
        """Whether the next message is ours."""
        return self._noise.writes_next

    def write(self) -> bytes:
        """The next message, without its length."""
        if self._initiator and self._theirs is None:
            return self._noise.write(_VERSIONS.encode(Versions(self._mine.versions_min, self._mine.versions_max)))
        return self._noise.write(_PROFILE.encode(self._mine))

    def read(self, message: bytes) -> None:
        """Take the other side's next message. Raises :class:`PeerError` and :class:`UnsupportedVersion`."""
        payload = self._noise.read(message)
        if not self._initiator and self._announced is None:
            self._announced = _VERSIONS.decode(payload)
            try:
                self._version = self._agree(self._announced)
            except UnsupportedVersion as error:
                self.refusal = error
            return
        theirs = _PROFILE.decode(payload)
        if x25519_public(theirs.key) != self._noise.rs:
            raise PeerError("the handshake's key is not that of the node it names")
        if theirs.key == self._mine.key:
            raise PeerError("the other end is this node itself")
        if self._expected is not None and node_id(theirs.key) != self._expected:
            raise PeerError(f"node {self._expected.hex()[:8]} was expected, {node_id(theirs.key).hex()[:8]} answered")
        if self._announced is None:
            self._version = self._agree(theirs)
        elif (self._announced.versions_min, self._announced.versions_max) != (theirs.versions_min, theirs.versions_max):
            raise PeerError("the versions of message 3 are not those of message 1")
        self._theirs = theirs

    def finish(self) -> Agreed:
        """The keys of the session and who is at its other end; once, after ``finished``."""
        assert self._theirs is not None and self.refusal is None
        send_key, receive_key, transcript = self._noise.split()
        return Agreed(send_key, receive_key, node_id(self._theirs.key), self._theirs, self._version, transcript)

    def _agree(self, theirs: Versions | Profile) -> int:
        """The highest version both speak."""
        low = max(self._mine.versions_min, theirs.versions_min)
        high = min(self._mine.versions_max, theirs.versions_max)
        if low > high:
            raise UnsupportedVersion(
                f"no version in common: we speak {self._mine.versions_min} to {self._mine.versions_max}, "
                f"the other end {theirs.versions_min} to {theirs.versions_max}",
                (theirs.versions_min, theirs.versions_max),
            )
        return high
