"""Several agents at a time, one for each thing, in one process: what a bench with many boards runs.

The agents share nothing but the connection that they were made with. One that ends with an error does not stop the others,
unless the error is the connection's, which then ends them all.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from bridge.errors import BridgeError
from bridge.fota.agent import Agent
from bridge.fota.job_result import JobResult

_log = logging.getLogger(__name__)


class Gateway:
    """Runs agents side by side.

    Args:
        agents: By the name of their thing.
    """

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(agents)

    def stop(self) -> None:
        """End :meth:`run` soon, as :meth:`Agent.stop` does for each; may be called from any thread."""
        for agent in self._agents.values():
            agent.stop()

    def run(self, *, once: bool = False) -> dict[str, JobResult | None]:
        """Work the jobs of all things until told to stop.

        Args:
            once: Return when each thing has had one job.

        Returns:
            The last result of each thing.

        Raises:
            BridgeError: The first error of an agent, when all have ended; see :meth:`Agent.run`.
        """
        results: dict[str, JobResult | None] = dict.fromkeys(self._agents)
        first: BridgeError | None = None
        with ThreadPoolExecutor(len(self._agents) or 1, "agent") as executor:
            running: dict[Future[JobResult | None], str] = {
                executor.submit(agent.run, once=once): thing for thing, agent in self._agents.items()
            }
            for ended in as_completed(running):
                thing = running[ended]
                try:
                    results[thing] = ended.result()
                except BridgeError as error:
                    if len(running) > 1:
                        _log.error("the agent of thing %s ended: %s", thing, error.message)
                    first = first or error
                except BaseException:
                    self.stop()  # a bug: the others end in order before it is told
                    raise
        if first is not None:
            raise first
        return results
