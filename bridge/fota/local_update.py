"""A file onto a board without any cloud, written down in the journal: what was cut off goes on where it was."""

import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

from bridge.errors import BenchError, BridgeError, InterruptedUpdateError
from bridge.fota.events import Finished, UpdateEvent
from bridge.fota.journal import Journal
from bridge.fota.journal_record import UpdateRecord
from bridge.fota.journal_values import Order
from bridge.fota.route import RouteOpener
from bridge.fota.update import Update
from bridge.fota.update_options import UpdateOptions
from bridge.image import ImageSource

_log = logging.getLogger(__name__)


class LocalUpdate:
    """Iterate over it to run the update; the last event is always ``Finished``.

    An update of the same file on the same board that has no outcome yet is taken up again.

    Args:
        source: The file.
        open_route: Opens the board.
        journal: Where it is written down.
        place: Where the board is.
        options: How the update is done.

    Raises:
        BenchError: The journal cannot be written; the board was not touched.
    """

    def __init__(
        self,
        source: ImageSource,
        open_route: RouteOpener,
        journal: Journal,
        place: str,
        options: UpdateOptions | None = None,
    ) -> None:
        self._record: UpdateRecord = journal.begin(Order(place, source.name, source.expected_sha256))
        options = replace(options or UpdateOptions(), earlier=self._record.earlier)
        self._update = Update(source, open_route, options=options, record=self._record.take)

    @property
    def error(self) -> BridgeError | None:
        """Why the update did not succeed; None while it runs and after success."""
        return self._update.error

    def stop(self) -> None:
        """Stop before the image is scheduled, if it is not yet; may be called from any thread or signal handler."""
        self._update.stop(InterruptedUpdateError("told to stop", hint="Run the same command again to go on."))

    def __iter__(self) -> Generator[UpdateEvent, None, None]:
        """Run the update."""
        with closing(iter(self._update)) as events:
            for event in events:
                if isinstance(event, Finished):
                    self._end(event)
                yield event

    def _end(self, finished: Finished) -> None:
        try:
            self._record.end(finished, self._update.error)
        except BenchError as error:
            _log.warning("the end of this update is not in the journal: %s", error.message)
