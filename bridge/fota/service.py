"""The agent with everything it needs around it: connection to the broker, Jobs client, downloads, the board's port."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bridge.cloud import Endpoint, JobDocument, JobExecution, JobsClient, JobsLink
from bridge.cloud.channel import Channel
from bridge.fetch import Download, DownloadOptions, HostRules
from bridge.fota.agent import Agent, SourceMaker
from bridge.fota.events import UpdateEvent
from bridge.fota.journal import Journal
from bridge.fota.mirrored_source import MirroredSource
from bridge.fota.route import RouteOpener
from bridge.fota.update_options import UpdateOptions
from bridge.fota.window import Admission
from bridge.image import ImageSource


@dataclass(frozen=True)
class DownloadSettings:
    """How images are fetched.

    Attributes:
        cache_dir: Where downloads are kept.
        ca_file: CA of the image server; None for the system's.
        client_cert: Certificate and key files for servers that want one.
        options: How patient downloads are.
        rules: From where images may be fetched; None for public hosts over https.
    """

    cache_dir: Path
    ca_file: Path | None = None
    client_cert: tuple[Path, Path] | None = None
    options: DownloadOptions | None = None
    rules: HostRules | None = None


def source_maker(settings: DownloadSettings) -> SourceMaker:
    """A function that starts the download named by a job document; only its first place can be asked for a fresh URL."""

    def start(document: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        if not document.mirrors:
            return download(document, document.url, fresh_url)
        later = [partial(download, document, url, None) for url in document.mirrors]
        return MirroredSource([partial(download, document, document.url, fresh_url), *later])

    def download(document: JobDocument, url: str, fresh_url: Callable[[], str] | None) -> ImageSource:
        started = Download(
            url,
            cache_dir=settings.cache_dir,
            expected_size=document.size_bytes,
            expected_sha256=document.sha256,
            ca_file=settings.ca_file,
            client_cert=settings.client_cert,
            refresh_url=fresh_url,
            rules=settings.rules,
            options=settings.options,
        )
        started.start()
        return started

    return start


@dataclass(frozen=True)
class ThingOnBoard:
    """A thing, and the board whose jobs are the thing's.

    Attributes:
        thing_name: Thing whose jobs are worked; independent of the client id.
        open_route: Opens the thing's board.
        journal: Where its updates are written down; without one they are forgotten with the process. A journal is for
            one thing at a time.
        place: Where the board is, for the journal.
    """

    thing_name: str
    open_route: RouteOpener
    journal: Journal | None = None
    place: str = ""


ThingEventSink = Callable[[str, JobExecution, UpdateEvent], None]
"""Told the thing's name as well; called from the threads of all agents."""


@contextmanager
def running_agent(
    endpoint: Endpoint | JobsLink,
    thing_name: str,
    open_route: RouteOpener,
    downloads: DownloadSettings | SourceMaker,
    *,
    options: UpdateOptions | None = None,
    on_event: Callable[[JobExecution, UpdateEvent], None] = lambda _execution, _event: None,
    admission: Admission | None = None,
    journal: Journal | None = None,
    place: str = "",
) -> Iterator[Agent]:
    """Connect to the cloud and offer an agent; the connection is closed in the end.

    Args:
        endpoint: Broker, certificates and client id; or another way to the Jobs service.
        thing_name: Thing whose jobs are worked; independent of the client id.
        open_route: Opens the thing's board.
        downloads: How images are fetched, or who does it.
        options: How updates are done.
        on_event: Told about every event of every update.
        admission: When jobs may be taken; at any time if it is None.
        journal: Where updates are written down; without one they are forgotten with the process.
        place: Where the board is, for the journal.

    Yields:
        The agent; call its ``run``.
    """
    with running_agents(
        endpoint,
        [ThingOnBoard(thing_name, open_route, journal, place)],
        downloads,
        options=options,
        on_event=lambda _, execution, event: on_event(execution, event),
        admission=admission,
    ) as (agent,):
        yield agent


@contextmanager
def running_agents(
    endpoint: Endpoint | JobsLink,
    things: Sequence[ThingOnBoard],
    downloads: DownloadSettings | SourceMaker,
    *,
    options: UpdateOptions | None = None,
    on_event: ThingEventSink = lambda _thing, _execution, _event: None,
    admission: Admission | None = None,
) -> Iterator[Sequence[Agent]]:
    """Connect to the cloud once, and offer an agent for each of several things; see :class:`~bridge.fota.gateway.Gateway`.

    Yields:
        The agents, in the order of the things.
    """
    link = endpoint if isinstance(endpoint, JobsLink) else JobsLink(endpoint)
    with ExitStack() as stack:
        channel = stack.enter_context(link.open())
        yield [_agent(stack, channel, thing, downloads, options, on_event, admission) for thing in things]


def _agent(  # noqa: PLR0917 - what each agent is made of
    stack: ExitStack,
    channel: Channel,
    thing: ThingOnBoard,
    downloads: DownloadSettings | SourceMaker,
    options: UpdateOptions | None,
    on_event: ThingEventSink,
    admission: Admission | None,
) -> Agent:
    jobs = stack.enter_context(JobsClient(channel, thing.thing_name))
    return Agent(
        jobs,
        thing.open_route,
        source_maker(downloads) if isinstance(downloads, DownloadSettings) else downloads,
        options=options,
        on_event=lambda execution, event: on_event(thing.thing_name, execution, event),
        admission=admission,
        journal=thing.journal,
        thing=thing.thing_name,
        place=thing.place,
    )
