"""Explaining: why peers run a job or do not, asked of a sample of them and answered over their signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, node_id
from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Effect, Heard, Notify, Send
from p2pcpn.protocol.requests import Answered, Failed, Requests
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Explain, Explanation
from p2pcpn.wire.statements import Reason, opened, signed


class Explaining:
    """Both sides of the question. ``views`` say what this peer makes of a job, (code, words): the first that knows."""

    def __init__(self, me: Keypair, requests: Requests, *views: Callable[[bytes], tuple[str, str] | None]) -> None:
        self._me = me
        self._requests = requests
        self._views = views

    def answer(self, sender: Contact, message: Explain) -> list[Effect]:
        """Our own words, signed."""
        code, text = next(view for view in (view(message.job) for view in self._views) if view is not None)
        reason = Reason(message.job, message.nonce, code, text[: limits.REASON_CHARS_MAX])
        return [Send(sender, Explanation(message.nonce, signed(reason, self._me)))]

    def ask(self, peers: Sequence[Contact], job: bytes, ticket: int, now: float) -> list[Effect]:
        """Ask ``peers``; ``Notify(Explained)`` with ``ticket`` follows for each, also for those that keep silent."""
        effects: list[Effect] = []
        for peer in peers:
            effects += self._requests.ask(peer, lambda nonce: Explain(nonce, job), (job, ticket), now)
        return self.told(effects)

    def told(self, effects: Iterable[Effect]) -> list[Effect]:
        """What our requests came to, as events. Raises :class:`PeerError` for a reason that is not its peer's own."""
        told: list[Effect] = []
        for effect in effects:
            value = effect.value if isinstance(effect, Heard) else None
            if isinstance(value, Answered) and isinstance(value.reply, Explanation):
                reason = opened(value.reply.reason, Reason)
                job, ticket = cast(tuple[bytes, int], value.purpose)
                if node_id(value.reply.reason.key) == value.peer.id and reason.job == job:
                    told.append(Notify(events.Explained(ticket, value.peer, reason.code, reason.text)))
            elif isinstance(value, Failed):
                _, ticket = cast(tuple[bytes, int], value.purpose)
                told.append(Notify(events.Explained(ticket, value.asked, "silent", "does not answer")))
            elif value is None:
                told.append(effect)
        return told
