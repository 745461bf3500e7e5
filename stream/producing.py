"""Faust's producer, appending whole batches to a given partition, and waiting until the broker has them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from faust.transport.drivers import aiokafka as driver

from fraudstream.stream import batches, messages
from fraudstream.stream.errors import RestartMe
from fraudstream.stream.logs import tell
from fraudstream.stream.lost_rights import as_not_permitted
from fraudstream.stream.reconnect import AWAY, pause_between_tries
from fraudstream.stream.security import aiokafka_options
from fraudstream.stream.wire.batches_out import DecisionRecords, Outgoing

FAUST_LOG = logging.getLogger("faust.slices")
"""Faust's services tell of every start and stop under their module's name; here they are Faust's."""

PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "faust.transport.drivers.aiokafka:Producer": (
        "_new_producer",
        "_settings_auth",
        "_settings_extra",
        "_ensure_producer",
    ),
    **batches.PRIVATE_NAMES,
}

BATCH_BYTES = 512 * 1024
"""Size of a produced batch; below the broker's default limit of 1 MiB with room for one large record."""

LOOK_S = 1.0
"""Time between two looks at whether the broker is there."""

KERNEL_BATCH_RECORDS = 4
"""Fewer records are appended one by one sooner than a kernel is called."""


class SliceProducer(driver.Producer):  # type: ignore[misc]
    """Producer that appends whole batches to a given partition."""

    logger = FAUST_LOG
    _one_by_one = True
    """Batches are not built by a kernel."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        made = super()._new_producer(transactional_id)
        pause_between_tries(made.client)
        return made

    async def on_start(self) -> None:
        """Start, then see whether the producer takes batches that are built by a kernel."""
        await super().on_start()
        if (reason := batches.why_not_ready_batches(self._ensure_producer())) is not None:
            self._fall_back(reason)
        self._one_by_one = reason is not None

    def _fall_back(self, reason: str, problem: BaseException | None = None) -> None:
        tell(messages.WIRE_FALLBACK, error=problem, part="produce", reason=reason)
        self.app.observer.fell_back("produce", reason)

    def _settings_auth(self) -> Mapping[str, Any]:
        return aiokafka_options(self.app.settings)

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    async def append(
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> list[asyncio.Future[Any]]:
        """Queue records for one partition, behind what was queued before.

        Returns:
            One future a batch: it ends with the metadata of the batch, or with the error of the send.
        """
        producer = self._ensure_producer()
        sent: list[asyncio.Future[Any]] = []
        if isinstance(records, DecisionRecords) and (ready := self._ready(records)):
            return [await self._queue(each, topic, partition) for each in ready]
        batch = producer.create_batch()
        for key, value, headers in records:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                batch.close()
                sent.append(await self._queue(batch, topic, partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        if batch.record_count():
            batch.close()
            sent.append(await self._queue(batch, topic, partition))
        return sent

    async def _queue(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        """Queue a batch when the one before has left; an outage of the broker is waited out."""
        while True:
            try:
                queued: asyncio.Future[Any] = await self._ensure_producer().send_batch(
                    batch, topic, partition=partition
                )
            except AWAY as problem:
                if self.app.lease.broker_answers():
                    raise RestartMe(
                        f"{topic}-{partition}: nothing could be sent for a whole request timeout: {problem!r}"
                    ) from problem
            else:
                return queued

    def _ready(self, records: DecisionRecords) -> list[batches.ReadyBatch]:
        """Return the batches of records, none: they are appended one by one."""
        if self._one_by_one or len(records) < KERNEL_BATCH_RECORDS:
            return []
        try:
            return batches.ready_batches(records, BATCH_BYTES)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the records can still go one by one
            self._one_by_one = True
            self._fall_back("failed", problem)
            return []

    async def settle(self, sent: Sequence[asyncio.Future[Any]], what: str) -> list[Any]:
        """Await the acknowledgement of sends; an outage of the broker is waited out.

        While the broker is away the clock stands: the idempotent producer tries on, and what lands late are
        the same bytes.

        Returns:
            Metadata of each batch.

        Raises:
            RestartMe: one failed, or its outcome is unknown after a request timeout.
            NotPermitted: the broker does not let this client write there.
        """
        if not sent:
            return []
        timeout_s = self.app.settings.request_timeout_ms / 1000
        pending, left_s = set(sent), timeout_s
        while pending and left_s > 0:
            look_s = min(LOOK_S, left_s)
            _, pending = await asyncio.wait(pending, timeout=look_s)
            if self.app.lease.broker_answers():
                left_s -= look_s
        if pending:
            raise RestartMe(
                f"{what}: {len(pending)} of {len(sent)} sends were not acknowledged within {timeout_s:g} s; "
                "their outcome is unknown"
            )
        results = []
        for future in sent:
            with contextlib.suppress(asyncio.CancelledError):
                if problem := future.exception():
                    if (refused := as_not_permitted(problem)) is not None:
                        raise refused from problem
                    raise RestartMe(f"{what}: the broker did not take it: {problem!r}") from problem
                results.append(future.result())
        if len(results) != len(sent):
            raise RestartMe(f"{what}: a send was cancelled; its outcome is unknown")
        return results
