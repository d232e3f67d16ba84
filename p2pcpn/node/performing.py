"""Performing effects: the machines' verbs on real sockets, disk and processes. How, never whether."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from p2pcpn import limits
from p2pcpn.errors import P2pcpnError, PeerError, StoreError, Unreachable
from p2pcpn.identity.keys import NodeId
from p2pcpn.net import aside
from p2pcpn.net.session import Session
from p2pcpn.node import restoring
from p2pcpn.protocol import deadlines as due
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.operations import ContentDone, GetDone, LookupDone, PutDone
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import Entry

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.node")

# Why a session ended whose peer said too much that cannot be right.
REFUSED = "refused messages"


class Performer:
    """Performs the effects of one overlay's peer, in order."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._spoken: list[Session] = []  # to which something urgent was said, in this call of perform
        self._ended: deque[tuple[fx.Commit, StoreError | None]] = deque()  # commits that something follows from
        self._verbs: dict[type[fx.Effect], Callable[[Any], None]] = {
            fx.SendBytes: self._send_bytes,
            fx.SendAside: self._send_aside,
            fx.Connect: self._connect,
            fx.Transmit: self._transmit,
            fx.TransmitBlob: self._transmit_blob,
            fx.TransmitLog: self._transmit_log,
            fx.TransmitSegment: self._transmit_segment,
            fx.Dial: self._dial,
            fx.Hangup: self._hangup,
            fx.Commit: self._commit,
            fx.KeepBlob: self._keep_blob,
            fx.Gather: self._gather,
            fx.Load: self._load,
            fx.Review: self._review,
            fx.LoadInputs: self._load_inputs,
            fx.TellOrphans: self._tell_orphans,
            fx.Run: overlay.runs.start,
            fx.StopRun: overlay.runs.stop,
            fx.CutRun: overlay.runs.cut,
            fx.Notify: self._notify,
        }

    def perform(self, effects: Sequence[fx.Effect]) -> None:
        """What a machine returned, in order; what the program is told of it behind all else."""
        verbs, spoken = self._verbs, self._spoken
        news: list[fx.Notify] = []
        if self._overlay.chronicle is not None:
            effects = self._overlay.chronicle.attend(effects)
        for effect in effects:
            kind = type(effect)
            if kind is fx.Notify:
                news.append(effect)  # type: ignore[arg-type]
                continue
            if spoken and not (kind is fx.Transmit and effect.urgent):  # type: ignore[attr-defined]
                self._hasten()  # what was said together is complete; a row for the disk, or a copy, takes time
            try:
                verbs[kind](effect)
            except Exception as error:  # the effects behind it are others'
                self._overlay.mishaps.note(f"an effect {kind.__name__}", error)
        if spoken:
            self._hasten()
        # Last of all: a thread that waits for a result wakes at once, and could not run while this one does.
        for each in news:
            try:
                self._notify(each)
            except Exception as error:
                self._overlay.mishaps.note("an effect Notify", error)

    def _hasten(self) -> None:
        for session in self._spoken:
            session.hasten()
        self._spoken.clear()

    # --- the network -----------------------------------------------------------------------------------------------

    def _send_bytes(self, effect: fx.SendBytes) -> None:
        self._overlay.udp.send(effect.data, effect.address)

    def _send_aside(self, effect: fx.SendAside) -> None:
        aside.send(effect.data, effect.address)

    def _connect(self, effect: fx.Connect) -> None:
        self._overlay.spawn(self._connecting(effect))

    async def _connecting(self, effect: fx.Connect) -> None:
        reached = await aside.takes_connections(effect.to.address, limits.DIAL_BACK_S)
        self._overlay.follow(self._overlay.peer.dial_backs.connected(effect.to, effect.nonce, reached))

    def _transmit(self, effect: fx.Transmit) -> None:
        box = self._overlay.sessions.outbox(effect.peer)
        if box is not None:
            box.say(effect.message, urgent=effect.urgent)
            if effect.urgent:
                self._spoken.append(box.session)

    def _transmit_blob(self, effect: fx.TransmitBlob) -> None:
        box = self._overlay.sessions.outbox(effect.peer)
        if box is not None:
            self._overlay.library.send_blob(box, effect)

    def _transmit_log(self, effect: fx.TransmitLog) -> None:
        box = self._overlay.sessions.outbox(effect.peer)
        if box is not None:
            self._overlay.library.send_log(box, effect)

    def _transmit_segment(self, effect: fx.TransmitSegment) -> None:
        box = self._overlay.sessions.outbox(effect.peer)
        if box is not None:
            self._overlay.library.send_segment(box, effect)

    def _dial(self, effect: fx.Dial) -> None:
        self._overlay.spawn(self._dialing(effect.to))

    async def _dialing(self, to: Contact) -> None:
        overlay, node = self._overlay, NodeId(to.id)
        try:
            if not to.usable:
                raise Unreachable("nobody can listen there")
            await overlay.server.dial(*to.address, expected=node)
        except P2pcpnError as error:
            log.debug("dial %s: %s", node.hex()[:8], error)
            overlay.counters["dials failed"] += 1
            if node not in overlay.sessions:
                overlay.questions.gone(node, str(error))
                overlay.hauler.gone(node)
                self.perform(overlay.peer.session_closed(node, overlay.loop.time()))
                overlay.timer.arm()

    def _hangup(self, effect: fx.Hangup) -> None:
        session = self._overlay.sessions.get(effect.peer)
        if session is not None:
            log.info("session with %s ended: %s", effect.peer.hex()[:8], effect.why)
            session.close(REFUSED)  # a fixed word: the counters of the listener are named after it

    # --- the disk --------------------------------------------------------------------------------------------------

    def _commit(self, effect: fx.Commit) -> None:
        def done(error: StoreError | None) -> None:  # in the store's thread
            if error is not None or effect.then:
                self._ended.append((effect, error))
                if len(self._ended) > 1:
                    return  # the loop was woken for the first of them
                try:
                    self._overlay.loop.call_soon_threadsafe(self._committed)
                except RuntimeError:
                    pass  # the loop has ended: nobody is told anything any more

        self._overlay.database.commit(effect.writes, done, patient=not effect.then)

    def _committed(self) -> None:
        """What follows from the commits of one transaction, all in one turn."""
        while self._ended:
            effect, error = self._ended.popleft()
            if error is not None:
                self._refused(error)
            try:
                self._overlay.follow(effect.then if error is None else effect.otherwise, due.BY_COMMIT)
            except Exception as mistake:  # those behind it are others', and the loop is not woken for them again
                self._overlay.mishaps.note("what follows a commit", mistake)

    def _keep_blob(self, effect: fx.KeepBlob) -> None:
        self._overlay.shelf.put(effect.digest, effect.data, effect.job, effect.retention_s)

    def _gather(self, effect: fx.Gather) -> None:
        self._overlay.runs.asked(effect.blobs)
        self._overlay.spawn(self._gathering(effect))

    async def _gathering(self, effect: fx.Gather) -> None:
        overlay = self._overlay
        try:
            await overlay.library.gather(effect.blobs, effect.sender, effect.job, effect.retention_s)
        except (PeerError, StoreError) as error:
            overlay.counters["blobs not had"] += 1
            log.info("blobs of job %s were not had: %s", effect.job.hex()[:8], error)
            overlay.follow(effect.otherwise)
            return
        finally:
            overlay.runs.answered(effect.blobs)
        overlay.follow(effect.then)

    def _load(self, effect: fx.Load) -> None:
        overlay = self._overlay
        authority = overlay.peer.presiding.authority(effect.job)
        if authority is None:
            return  # it is kept no more
        try:
            segments, settled = restoring.job_state(overlay.database, authority)
            inherited = restoring.orphans(overlay.database, effect.job)
            states = restoring.states(overlay.database, effect.job)
        except StoreError as error:
            self._refused(error)
            return
        try:
            adopted = overlay.peer.adopt(effect.job, segments, settled, overlay.loop.time(), inherited, states)
        except PeerError as error:
            overlay.counters["jobs not taken over"] += 1
            log.info("job %s cannot be taken over: %s", effect.job.hex()[:8], error)
            return
        self.perform(adopted)

    def _review(self, effect: fx.Review) -> None:
        overlay = self._overlay
        authority = overlay.peer.presiding.authority(effect.job)
        try:
            stale = [] if authority is None else restoring.stale_tasks(overlay.database, authority)
        except StoreError as error:
            self._refused(error)
            return
        self.perform(overlay.peer.reviewed(effect.job, stale, overlay.loop.time()))

    def _load_inputs(self, effect: fx.LoadInputs) -> None:
        overlay = self._overlay
        authority = overlay.peer.presiding.authority(effect.job)
        entries: list[tuple[int, Entry]] = []
        try:
            if authority is not None:
                entries = restoring.settlements(overlay.database, authority, effect.indices)
        except StoreError as error:
            self._refused(error)
        self.perform(overlay.peer.inputs_loaded(effect.job, effect.indices, entries, overlay.loop.time()))

    def _tell_orphans(self, effect: fx.TellOrphans) -> None:
        try:
            found = restoring.orphans(self._overlay.database, effect.job, own=not effect.request)
        except StoreError as error:
            self._refused(error)
            return
        said = (m.Orphan(each.receipt, each.page, effect.request, each.lease) for each in found)
        self._overlay.follow([fx.Tell(effect.to, orphan) for orphan in said])

    def _refused(self, error: StoreError) -> None:
        self._overlay.counters["disk refused"] += 1
        log.debug("%s", error)  # a full disk refuses a thousand times a second: the store says it once

    # --- the program -----------------------------------------------------------------------------------------------

    def _notify(self, effect: fx.Notify) -> None:
        event = effect.event
        if isinstance(event, (GetDone, PutDone, LookupDone, ProvidersDone, ContentDone)):
            self._overlay.questions.ended(event.ticket, event)
        elif isinstance(event, events.Explained):
            self._overlay.questions.explained(event)
        else:
            self._overlay.tell(event)
