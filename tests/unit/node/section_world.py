"""A section of a blob, made for tests, and its deposit."""

from __future__ import annotations

import time
from typing import Any

from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.chunks import ChunkSeal
from p2pcpn.wire.manifests import CODEC, Manifest
from p2pcpn.wire.sealing import digest, swarm_proof
from p2pcpn.wire.statements import Deposit, Signed, signed

OWNER = Keypair(b"\6" * 32)
SWARM_KEY = b"\7" * 32


class Made:
    """``count`` chunks of 4 KiB, the last one shorter."""

    def __init__(self, count: int = 5, key: bytes = b"\1" * 32) -> None:
        self.plain = [bytes([index]) * 4096 for index in range(count - 1)] + [b"end"]
        seal = ChunkSeal(key, 0, 0)
        self.chunks = [seal.seal(index, data) for index, data in enumerate(self.plain)]
        self.manifest = Manifest(0, 0, sum(map(len, self.plain)), 4096, b"".join(map(digest, self.chunks)))
        self.data = CODEC.encode(self.manifest)
        self.name = digest(self.data)

    def deposit(self, **other: Any) -> Signed:
        fields = {
            "name": self.name, "blob": bytes(20), "is_root": True, "parts": 0, "size_bytes": self.manifest.size_bytes,
            "created_s": float(int(time.time())), "retention_s": 1000.0, "replicas": 2, "note": b"",
            "proof": swarm_proof(SWARM_KEY, OWNER.public),
        }  # fmt: skip
        return signed(Deposit(**(fields | other)), OWNER)

    def put(self, index: int) -> Any:
        from p2pcpn.wire import messages as m

        return m.PutChunk(self.name, index, memoryview(self.chunks[index]))
