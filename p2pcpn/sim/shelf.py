"""A virtual shelf: the blobs of one life of a host, how they arrive, and how those that are lacking are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Effect, Gather, Tell, TransmitBlob, Turn
from p2pcpn.wire import messages as m
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest

if TYPE_CHECKING:
    from p2pcpn.sim.host import Host

# How long a blob that was asked for is awaited.
BLOB_WAIT_S = 5.0


@dataclass(slots=True)
class _Gathering:
    """A gathering under way: it goes on with ``then`` when ``left`` is empty, else once with ``otherwise``."""

    effect: Gather
    left: dict[bytes, None]
    over: bool = False


@dataclass(slots=True)
class _Asked:
    """A blob that was asked for."""

    name: bytes
    gathering: _Gathering
    parts: bytearray = field(default_factory=bytearray)


class Shelf:
    """Blobs at hand: in memory at once, on disk soon. ``blobs`` begins as what the disk holds."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._boot = host.boot
        self.blobs: dict[bytes, bytes] = dict(host.disk.blobs)
        self._arriving: dict[tuple[NodeId, bytes], bytearray] = {}
        self._asked: dict[tuple[NodeId, int], _Asked] = {}

    def keep(self, name: bytes, data: bytes, done: Callable[[bool], None] = lambda durable: None) -> None:
        """Keep a blob; ``done`` is told when it is on disk, or cannot be."""
        self.blobs[name] = data
        self._host.disk.put_blob(name, data, done)

    def send(self, effect: TransmitBlob) -> None:
        """Say a blob that is here to a peer, part by part. Here copies do not wait, and none needs hurrying."""
        if effect.turn is Turn.HURRY:
            return
        data = self.blobs.get(effect.digest)
        if data is None:
            self._host.world.trace.count("blobs missing")
            return
        for offset in range(0, max(len(data), 1), limits.BLOB_PART_BYTES):
            part = data[offset : offset + limits.BLOB_PART_BYTES]
            request = effect.request if offset + len(part) >= len(data) else 0
            put = m.PutBlob(request, effect.digest, effect.job, len(data), offset, memoryview(part), effect.retention_s)
            self._host.say(effect.peer, put)

    def take(self, source: NodeId, message: m.Message) -> bool:
        """Deal with ``message`` if it is about a blob, or answers a question of ours."""
        match message:
            case m.PutBlob():
                self._put(source, message)
            case m.GetBlob():
                self._get(source, message)
            case m.BlobData():
                self._data(source, message)
            case m.Answer():
                asked = self._asked.pop((source, message.request), None)
                if asked is not None:
                    self._fail(asked.gathering)
                return asked is not None
            case _:
                return False
        return True

    def closed(self, source: NodeId) -> None:
        """The session with ``source`` is gone, and what came over it in part."""
        for arriving in [key for key in self._arriving if key[0] == source]:
            del self._arriving[arriving]
        for key in [key for key in self._asked if key[0] == source]:
            asked = self._asked.pop(key, None)
            if asked is not None:
                self._fail(asked.gathering)

    # --- what others bring and want --------------------------------------------------------------------------------

    def _put(self, source: NodeId, message: m.PutBlob) -> None:
        peer = self._host.peer
        assert peer is not None
        if not (message.job in peer.worker.works or message.job in peer.steward.jobs or message.job in peer.grantors):
            self._host.say(source, m.Answer(message.request, AnswerCode.UNKNOWN, "knows no such job"))
            return
        parts = self._arriving.setdefault((source, message.digest), bytearray())
        if len(parts) != message.offset:
            del self._arriving[source, message.digest]
            raise PeerError("a part of a blob does not follow the one before")
        parts += message.data
        if len(parts) == message.size_bytes:
            del self._arriving[source, message.digest]
            self.keep(message.digest, bytes(parts), partial(self._answer, source, message.request))

    def _answer(self, source: NodeId, request: int, durable: bool) -> None:
        if request and self._host.peer is not None and self._host.boot == self._boot:
            self._host.say(source, m.Answer(request, AnswerCode.DONE if durable else AnswerCode.FAILED, ""))

    def _get(self, source: NodeId, message: m.GetBlob) -> None:
        data = self.blobs.get(message.digest)
        if data is None or message.offset > len(data):
            self._host.say(source, m.Answer(message.request, AnswerCode.UNKNOWN, "has no such blob"))
            return
        for offset in range(message.offset, max(len(data), 1), limits.BLOB_PART_BYTES):
            part = data[offset : offset + limits.BLOB_PART_BYTES]
            self._host.say(source, m.BlobData(message.request, message.digest, len(data), offset, memoryview(part)))

    # --- what we want ----------------------------------------------------------------------------------------------

    def gather(self, effect: Gather) -> None:
        """Have all blobs of ``effect`` on disk, then go on with it; those that are lacking are asked for."""
        missing = {name: None for name in effect.blobs if name not in self._host.disk.blobs}
        if not missing:
            self._host.follow(list(effect.then))
            return
        gathering = _Gathering(effect, dict(missing))
        for name in missing:
            assert self._host.peer is not None
            if name in self.blobs:  # on its way to the disk, or refused by it
                self.keep(name, self.blobs[name], partial(self._had, _Asked(name, gathering)))
                continue
            request = self._host.peer.next_request()
            key = (NodeId(effect.sender.id), request)
            self._asked[key] = _Asked(name, gathering)
            self._host.clock.after(BLOB_WAIT_S, partial(self._late, key))
            self._host.follow([Tell(effect.sender, m.GetBlob(request, name, 0))])

    def _data(self, source: NodeId, message: m.BlobData) -> None:
        asked = self._asked.get((source, message.request))
        if asked is None:
            return
        asked.parts += message.data
        if len(asked.parts) < message.size_bytes:
            return
        del self._asked[source, message.request]
        data = bytes(asked.parts)
        if digest(data) != asked.name:
            self._fail(asked.gathering)
        else:
            self.keep(asked.name, data, partial(self._had, asked))

    def _had(self, asked: _Asked, durable: bool) -> None:
        gathering = asked.gathering
        if not durable:
            self._fail(gathering)
        elif not gathering.over:
            gathering.left.pop(asked.name, None)
            if not gathering.left:
                gathering.over = True
                self._follow(gathering.effect.then)

    def _late(self, key: tuple[NodeId, int]) -> None:
        asked = self._asked.pop(key, None)
        if asked is not None:
            self._fail(asked.gathering)

    def _fail(self, gathering: _Gathering) -> None:
        if not gathering.over:
            gathering.over = True
            self._host.world.trace.count("blobs not had")
            self._follow(gathering.effect.otherwise)

    def _follow(self, effects: tuple[Effect, ...]) -> None:
        if self._host.peer is not None and self._host.boot == self._boot:
            self._host.follow(list(effects))
