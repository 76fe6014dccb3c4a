"""The life of a call, from its first byte to its record's last, top to bottom.

    1. receive      give it an id, begin its record
    2. route        which cluster
    3. describe     which verb on which resource; refuse what parsers disagree about
    4. authenticate the certificate's credential stands
                    no further while the gate is closed: nothing goes out that cannot be recorded
    5. authorize    grants, or the credential and the cluster, allow it; `--as` is allowed there
    6. sanitise     the outgoing head, from an allow-list, with the identity in it
    7. last gate    the finished head is checked again
    8. intent       durable before the first byte goes upstream, if the call can have an effect
    9. forward      or tunnel
    10. outcome     durable before the answer, or its last byte, is released

Whatever happens on the way, `_finish` sees to it that the record has exactly one terminal event:
refused, failed upstream, client gone, cut, panicked. Steps 1 to 7 are functions of the stage
before (`receiving`, `authorizing`, `clearing`); `forward` takes only what passed all of them.
"""

import asyncio
from collections.abc import Callable

import structlog

from proxy.audit.event import CloseReason, ResponseStatus, shortened
from proxy.audit.port import Journal, JournalUnavailableError
from proxy.audit.strangers import STRANGE, Strangers
from proxy.authz.access_review import AccessReviewer
from proxy.clock import Clock
from proxy.gateway import asking, forwarding, receiving, tunnel
from proxy.gateway.admission import Admission
from proxy.gateway.authorizing import Authorizer
from proxy.gateway.clearing import clear
from proxy.gateway.connection import ClientConnection
from proxy.gateway.exchange import Cleared, Intended, Received
from proxy.gateway.observing import Observer
from proxy.gateway.receiving import Refused
from proxy.gateway.request import Request
from proxy.gateway.responding import head
from proxy.gateway.suspecting import Suspecting
from proxy.kube.request_info import CallClass, may_have_effect
from proxy.kube.status import error_response, reason_for
from proxy.state.snapshot import Snapshot
from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamError
from proxy.upstream.pool import Pool

_log = structlog.get_logger(__name__)


class Pipeline:
    """Serves calls. One per process; it keeps nothing between calls."""

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        target_of: Callable[[str], Target | None],
        reviewer: AccessReviewer,
        refuse_unregistered: bool,
        pool: Pool,
        observer: Observer,
        admission: Admission,
        suspecting: Suspecting,
        strangers: Strangers,
        domain: str = "",
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._snapshot = snapshot
        self._authorizer = Authorizer(target_of, reviewer, refuse_unregistered=refuse_unregistered)
        self._pool = pool
        self._observer = observer
        self._admission = admission
        self._suspecting = suspecting
        self._strangers = strangers
        self._domain = domain

    async def serve(self, connection: ClientConnection, request: Request) -> None:
        """Serve one request to its end. Never raises but when cancelled."""
        received = receiving.receive(connection, request, self._journal, self._clock)  # 1
        self._observer.begun()
        try:
            await self._answered(received)
        except (asyncio.CancelledError, forwarding.ClientGone):
            reason = connection.cut_reason or CloseReason.CLIENT_GONE
            self._finish(received, reason)
            raise
        except Exception as error:  # noqa: BLE001  # a fault of ours must still be recorded
            _log.error("call panicked", audit_id=received.record.call.audit_id, exc_info=error)
            self._finish(received, CloseReason.PANIC)
            connection.abort()
        finally:
            connection.cluster = connection.permit = None
            self._observer.ended(received.record)

    async def _answered(self, received: Received) -> None:
        """All steps; whoever stands in the way, the client gets an answer."""
        try:
            await self._steps(received)
        except Refused as refusal:
            await self._refuse(received, refusal)
        except JournalUnavailableError as error:
            await self._unrecorded(received, error)
        except UpstreamError as error:
            await self._upstream_failed(received, error)

    async def _steps(self, received: Received) -> None:
        snapshot, now = self._snapshot(), self._clock.now()
        routed = receiving.route(received, self._domain)  # 2
        received.connection.cluster = snapshot.clusters.get(routed.cluster)
        described = receiving.describe_call(routed)  # 3
        identified = receiving.identify(described, snapshot, now)  # 4
        self._suspecting.look(identified, snapshot)
        await self._admission.admit(identified)
        authorized = await self._authorizer.authorize(identified, snapshot, now)  # 5
        answer = await asking.answer(authorized, snapshot.access, now)
        if answer is not None:
            await self._answer_question(received, answer)
            return
        cleared = clear(authorized)  # 6, 7
        intended = await self._intend(cleared)  # 8
        if described.upgrade:
            await self._tunnel(intended)  # 9, 10
        elif described.call_class is CallClass.STREAM:
            with self._observer.stream(), self._suspecting.stream(identified):
                await forwarding.forward(intended, self._pool)  # 9, 10
        else:
            await forwarding.forward(intended, self._pool)  # 9, 10

    async def _intend(self, cleared: Cleared) -> Intended:
        """8. For reads the intent is in the same batch while the cluster works."""
        described = cleared.authorized.identified.described
        effect = may_have_effect(described.call_class)
        record = described.routed.received.record
        intent = record.intend(urgent=effect)
        if effect:
            await intent
        self._admission.check(record)
        return Intended(cleared, intent)

    async def _tunnel(self, intended: Intended) -> None:
        """9 and 10 of an upgrade; an answer other than 101 is relayed like any other."""
        identified = intended.cleared.authorized.identified
        received = identified.described.routed.received
        client = received.connection
        upstream, response = await tunnel.open_tunnel(intended, self._pool)
        if response.status == 101:
            with self._observer.stream(), self._suspecting.stream(identified):
                await tunnel.run_tunnel(received.record, client, upstream, response)
            return
        client.reusable = False
        try:
            await forwarding.relay(intended, upstream, response)
        finally:
            upstream.abort()

    async def _answer_question(self, received: Received, body: bytes) -> None:
        """`auth can-i` where the grants have the answer: it is ours, once it is on record."""
        record = received.record
        record.bytes_in = 0 if received.request.body is None else received.request.body.total
        record.bytes_out = len(body)
        await record.end(ResponseStatus(201))
        headers = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-cache, private")]
        await self._answer(received, 201, headers, body)

    async def _refuse(self, received: Received, refusal: Refused) -> None:
        """Answer it ourselves, once the refusal is on record.

        Of a client without a credential only so many are, one by one; of the others the sum.
        """
        record, code = received.record, refusal.code
        self._observer.refused(refusal.category)
        headers, body = error_response(
            record.info, code, refusal.message, retry_after=refusal.retry_after
        )
        record.bytes_out = len(body)
        message = refusal.message
        if not receiving.recognise(received, self._snapshot(), self._clock.now()):
            message = shortened(message, STRANGE)
            if not self._strangers.admits(received.connection.source, refusal.category):
                self._suspecting.unrecorded(record, code)
                record.count_only(code)
                await self._answer(received, code, headers, body)
                return
        self._suspecting.refused(record, code)
        try:
            await record.end(
                ResponseStatus(code, "Failure", reason_for(code), message), CloseReason.REFUSED
            )
        except JournalUnavailableError as error:
            await self._unrecorded(received, error)
            return
        await self._answer(received, code, headers, body)

    async def _upstream_failed(self, received: Received, error: UpstreamError) -> None:
        """The cluster could not be asked, or broke off before its answer began."""
        record = received.record
        if record.released:
            # Only a broken connection tells the client that this is not the end.
            self._finish(received, CloseReason.UPSTREAM_FAILED)
            received.connection.abort()
            return
        code = 502 if record.forwarded else 503
        # No Retry-After: client-go would repeat the call up to ten times, mutations included.
        headers, body = error_response(record.info, code, error.message)
        try:
            await record.end(
                ResponseStatus(code, "Failure", reason_for(code), error.message),
                CloseReason.UPSTREAM_FAILED,
            )
        except JournalUnavailableError as failure:
            await self._unrecorded(received, failure)
            return
        await self._answer(received, code, headers, body)

    async def _unrecorded(self, received: Received, error: JournalUnavailableError) -> None:
        """The record failed: refuse, or cut what was already begun."""
        record = received.record
        self._observer.refused("journal")
        if record.ended:
            # It may be written yet, though nobody was told so.
            self._correct(received, error)
        self._finish(received, CloseReason.RECORD_FAILED)
        if record.released:
            received.connection.abort()
            return
        message = f"the call cannot be recorded, so it is refused: {error.message}"
        if record.forwarded:
            message = (
                "the cluster has answered, but the outcome could not be recorded, so the answer is "
                f"withheld; check the object before trying again: {error.message}"
            )
        else:
            self._admission.refused()
        headers, body = error_response(record.info, 503, message)
        await self._answer(received, 503, headers, body)

    async def _answer(
        self, received: Received, code: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        connection = received.connection
        request = received.request
        if request.upgrade:
            connection.reusable = False
        if request.body is not None and not request.body.complete:
            connection.reusable = False
        if not received.record.summed:
            headers.append((b"Audit-ID", received.record.call.audit_id.encode()))
        headers.append((b"Content-Length", b"%d" % len(body)))
        if not connection.reusable or connection.draining or not request.keep_alive:
            headers.append((b"Connection", b"close"))
            connection.reusable = False
        connection.write(head(code, headers) + (b"" if request.method == b"HEAD" else body))
        await connection.drained()

    def _correct(self, received: Received, error: JournalUnavailableError) -> None:
        record = received.record
        try:
            record.correct(0 if record.released else 503, error.message)
        except JournalUnavailableError as failure:
            _log.error(
                "an outcome may be on record that its client was not told",
                audit_id=record.call.audit_id,
                recorded=record.status,
                error=failure.message,
            )

    def _finish(self, received: Received, reason: CloseReason) -> None:
        """Write the terminal event if there is none yet; the journal may be the one that failed."""
        record = received.record
        try:
            record.abandon(ResponseStatus(record.status or _CODES.get(reason, 0)), reason)
        except JournalUnavailableError:
            # Nothing more can be done here: recovery closes the intent as interrupted.
            record.close_reason = reason


_CODES = {CloseReason.PANIC: 500, CloseReason.RECORD_FAILED: 503, CloseReason.CLIENT_GONE: 499}
