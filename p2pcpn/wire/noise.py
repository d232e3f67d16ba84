"""The Noise handshake: messages in turn to two transport keys (Noise Protocol Framework, revision 34).

::

    XXpsk0:
      -> psk, e                 (our payload: the versions we speak)
      <- e, ee, s, es           (payload: who the responder is)
      -> s, se                  (payload: who the initiator is)

Section numbers below are those of the specification. The curve is X25519, the cipher AES-256-GCM, the hash SHA-256.
No randomness here: the caller gives the ephemeral secret, and never gives the same one twice.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import KEY_BYTES, exchange

TAG_BYTES: Final = 16
# Section 3: no Noise message is longer.
NOISE_BYTES_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class Pattern:
    """A protocol's name and the tokens of its messages; the initiator writes the first. No pre-messages."""

    name: bytes
    messages: tuple[tuple[str, ...], ...]


XX_PSK0: Final = Pattern(
    b"Noise_XXpsk0_25519_AESGCM_SHA256",
    (("psk", "e"), ("e", "ee", "s", "es"), ("s", "se")),
)


def cipher_nonce(counter: int) -> bytes:
    """Section 12.4: 32 zero bits, then the counter, big-endian."""
    return counter.to_bytes(12, "big")


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Section 4.3."""
    key = hmac.digest(chaining_key, material, "sha256")
    made: list[bytes] = []
    last = b""
    for number in range(1, outputs + 1):
        last = hmac.digest(key, last + bytes((number,)), "sha256")
        made.append(last)
    return made


class _Symmetric:
    """Section 5.2: the transcript's hash, the chaining key and the cipher that follows from it."""

    __slots__ = ("_chaining_key", "_cipher", "_counter", "hash")

    def __init__(self, name: bytes) -> None:
        self.hash = name.ljust(32, b"\0") if len(name) <= 32 else sha256(name).digest()
        self._chaining_key = self.hash
        self._cipher: AESGCM | None = None
        self._counter = 0

    def mix_hash(self, data: bytes) -> None:
        self.hash = sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = _hkdf(self._chaining_key, material, 2)
        self._cipher, self._counter = AESGCM(key), 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self._chaining_key, mixed, key = _hkdf(self._chaining_key, material, 3)
        self.mix_hash(mixed)
        self._cipher, self._counter = AESGCM(key), 0

    def seal(self, plaintext: bytes) -> bytes:
        sealed = plaintext
        if self._cipher is not None:
            sealed = self._cipher.encrypt(cipher_nonce(self._counter), plaintext, self.hash)
            self._counter += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        plaintext = sealed
        if self._cipher is not None:
            try:
                plaintext = self._cipher.decrypt(cipher_nonce(self._counter), sealed, self.hash)
            except InvalidTag:
                raise PeerError("a handshake message does not open: another swarm key, or it was altered") from None
            self._counter += 1
        self.mix_hash(sealed)
        return plaintext

    @property
    def keyed(self) -> bool:
        return self._cipher is not None

    def split(self) -> tuple[bytes, bytes]:
        first, second = _hkdf(self._chaining_key, b"", 2)
        return first, second


class Noise:
    """One side of one handshake (section 5.3).

    ``read`` and ``write`` alternate as the pattern says; calling them out of turn fails an assertion. ``read`` takes
    any bytes and raises :class:`PeerError` for what is no message of this handshake; after that the object is spent.
    """

    __slots__ = (
        "_e",
        "_e_public",
        "_initiator",
        "_messages",
        "_psk",
        "_re",
        "_s",
        "_s_public",
        "_state",
        "_turn",
        "rs",
    )

    def __init__(
        self,
        *,
        initiator: bool,
        static_secret: bytes,
        ephemeral_secret: bytes,
        psk: bytes,
        prologue: bytes,
        pattern: Pattern = XX_PSK0,
    ) -> None:
        assert len(static_secret) == len(ephemeral_secret) == len(psk) == KEY_BYTES
        self._initiator = initiator
        self._messages = pattern.messages
        self._turn = 0
        self._psk = psk
        self._s, self._e = static_secret, ephemeral_secret
        self._s_public = bindings.crypto_scalarmult_base(static_secret)
        self._e_public = bindings.crypto_scalarmult_base(ephemeral_secret)
        self._re = b""
        self.rs = b""  # the other side's static key, once it was read
        self._state = _Symmetric(pattern.name)
        self._state.mix_hash(prologue)

    @property
    def finished(self) -> bool:
        """Whether every message of the pattern was read or written."""
        return self._turn == len(self._messages)

    @property
    def writes_next(self) -> bool:
        """Whether the next message is ours to write."""
        return not self.finished and self._initiator == (self._turn % 2 == 0)

    def write(self, payload: bytes) -> bytes:
        """The next message, carrying ``payload``."""
        assert self.writes_next, "the handshake waits for the other side"
        parts: list[bytes] = []
        for token in self._messages[self._turn]:
            if token == "e":
                parts.append(self._e_public)
                self._mix_ephemeral(self._e_public)
            elif token == "s":
                parts.append(self._state.seal(self._s_public))
            else:
                self._mix(token)
        parts.append(self._state.seal(payload))
        self._turn += 1
        message = b"".join(parts)
        assert len(message) <= NOISE_BYTES_MAX
        return message

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's next message."""
        assert not self.finished and not self.writes_next, "the handshake waits for this side"
        rest = message
        for token in self._messages[self._turn]:
            if token == "e":
                self._re, rest = _taken(rest, KEY_BYTES)
                self._mix_ephemeral(self._re)
            elif token == "s":
                sealed, rest = _taken(rest, KEY_BYTES + (TAG_BYTES if self._state.keyed else 0))
                self.rs = self._state.open(sealed)
            else:
                self._mix(token)
        payload = self._state.open(rest)
        self._turn += 1
        return payload

    def split(self) -> tuple[bytes, bytes, bytes]:
        """``(send key, receive key, handshake hash)``; the hash names this session and no other (section 11.2)."""
        assert self.finished
        first, second = self._state.split()
        if self._initiator:
            return first, second, self._state.hash
        return second, first, self._state.hash

    def _mix_ephemeral(self, public: bytes) -> None:
        # Section 9.2: with a pre-shared key, ephemeral keys enter the chaining key as well, so that two handshakes
        # under one pre-shared key never encrypt under the same cipher key.
        self._state.mix_hash(public)
        if any("psk" in tokens for tokens in self._messages):
            self._state.mix_key(public)

    def _mix(self, token: str) -> None:
        if token == "psk":
            self._state.mix_key_and_hash(self._psk)
        elif token == "ee":
            self._state.mix_key(exchange(self._e, self._re))
        elif (token == "es") == self._initiator:  # es as initiator, se as responder: our ephemeral, their static
            self._state.mix_key(exchange(self._e, self.rs))
        else:
            self._state.mix_key(exchange(self._s, self._re))


def _taken(data: bytes, count: int) -> tuple[bytes, bytes]:
    if len(data) < count:
        raise PeerError("a handshake message is too short")
    return data[:count], data[count:]
