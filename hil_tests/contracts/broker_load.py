"""Load on our broker and on mosquitto in the same run, over TLS on loopback: ``python -m hil_tests.contracts.broker_load``.

Connections per second, resident memory for each, latency of a QoS 1 message with all of them open, messages per second
and the broker's processor time for one. The client is Python and shares the processors with the broker: compare the two
brokers, not the figures with another machine's.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bridge.lab.mqtt_packets import Publish
from hil_tests.contracts.load_brokers import THING, RunningBroker, allow_files, running
from hil_tests.contracts.load_client import LoadClient
from hil_tests.lab_rig import Certificates

BROKERS = ("builtin", "mosquitto")
CONCURRENT_HANDSHAKES = 32
PAIRS = 20
PAYLOAD = bytes(256)
RUN_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class LoadFigures:
    """What one broker did."""

    broker: str
    connections: int
    connections_per_s: float
    kib_per_connection: float
    latency_p50_ms: float
    latency_p99_ms: float
    messages: int
    messages_per_s: float
    cpu_us_per_message: float


def measure(name: str, certificates: Certificates, *, connections: int, messages: int) -> LoadFigures:
    """Start a broker, load it, stop it."""
    allow_files(connections + 200)
    tls = certificates.client_context(THING)
    with running(name, certificates) as broker:
        bounded = asyncio.wait_for(_load(broker, tls, connections, messages), RUN_TIMEOUT_S)
        return asyncio.run(bounded)


async def _load(broker: RunningBroker, tls: ssl.SSLContext, connections: int, messages: int) -> LoadFigures:
    memory = broker.resident_bytes()
    started = time.perf_counter()
    clients = await _connect(broker, tls, connections)
    connect_s = time.perf_counter() - started
    memory = broker.resident_bytes() - memory
    latencies = await _ping(broker, tls, samples=500)
    cpu_s = broker.cpu_s()
    message_s = await _flood(broker, tls, messages)
    cpu_s = broker.cpu_s() - cpu_s
    alive = [client for client in clients if not client.lost.done()]
    for client in clients:
        client.close()
    await asyncio.gather(*(client.lost for client in clients))
    if len(alive) != connections:
        raise RuntimeError(f"{broker.name} lost {connections - len(alive)} of {connections} connections")
    percentiles = statistics.quantiles(latencies, n=100)
    return LoadFigures(
        broker=broker.name,
        connections=connections,
        connections_per_s=round(connections / connect_s, 1),
        kib_per_connection=round(memory / 1024 / connections, 1),
        latency_p50_ms=round(percentiles[49] * 1000, 2),
        latency_p99_ms=round(percentiles[98] * 1000, 2),
        messages=messages,
        messages_per_s=round(messages / message_s, 1),
        cpu_us_per_message=round(cpu_s / messages * 1e6, 1),
    )


async def _connect(broker: RunningBroker, tls: ssl.SSLContext, count: int) -> list[LoadClient]:
    """Idle clients, each with a subscription of its own."""
    room = asyncio.Semaphore(CONCURRENT_HANDSHAKES)
    clients = [LoadClient(f"load-{number}") for number in range(count)]

    async def connect(number: int) -> None:
        async with room:
            await clients[number].connect(broker.port, tls)
            await clients[number].subscribe(f"lab/idle/{number}")

    await asyncio.gather(*map(connect, range(count)))
    return clients


async def _ping(broker: RunningBroker, tls: ssl.SSLContext, samples: int) -> list[float]:
    """Seconds from a publish to its arrival at another client, one after the other."""
    arrived = asyncio.Event()
    receiver, sender = LoadClient("ping-in", lambda _: arrived.set()), LoadClient("ping-out")
    await receiver.connect(broker.port, tls)
    await receiver.subscribe("lab/ping")
    await sender.connect(broker.port, tls)
    latencies: list[float] = []
    for _ in range(samples):
        arrived.clear()
        started = time.perf_counter()
        await sender.publish("lab/ping", PAYLOAD)
        await arrived.wait()
        latencies.append(time.perf_counter() - started)
    receiver.close()
    sender.close()
    return latencies


async def _flood(broker: RunningBroker, tls: ssl.SSLContext, messages: int) -> float:
    """Seconds until so many messages went through pairs of clients, all in order."""
    each = messages // PAIRS
    done = [asyncio.Event() for _ in range(PAIRS)]
    expected = [0] * PAIRS

    def hear(pair: int, message: Publish) -> None:
        if int.from_bytes(message.payload[:4], "big") != expected[pair]:
            raise RuntimeError(f"{broker.name}: message {expected[pair]} of pair {pair} is missing")
        expected[pair] += 1
        if expected[pair] == each:
            done[pair].set()

    receivers = [
        LoadClient(f"in-{pair}", lambda message, pair=pair: hear(pair, message))  # type: ignore[misc]
        for pair in range(PAIRS)
    ]
    senders = [LoadClient(f"out-{pair}") for pair in range(PAIRS)]
    for pair in range(PAIRS):
        await receivers[pair].connect(broker.port, tls)
        await receivers[pair].subscribe(f"lab/flood/{pair}")
        await senders[pair].connect(broker.port, tls)

    async def send(pair: int) -> None:
        for number in range(each):
            await senders[pair].publish(f"lab/flood/{pair}", number.to_bytes(4, "big") + PAYLOAD)
        await done[pair].wait()

    started = time.perf_counter()
    await asyncio.gather(*map(send, range(PAIRS)))
    elapsed_s = time.perf_counter() - started
    for client in (*receivers, *senders):
        client.close()
    return elapsed_s


def table(figures: list[LoadFigures]) -> str:
    """The figures side by side, with ours as a multiple of mosquitto's."""
    names = [name for name in asdict(figures[0]) if name != "broker"]
    rows = [["", *(one.broker for one in figures), *(["ratio"] if len(figures) == 2 else [])]]
    for name in names:
        values = [float(getattr(one, name)) for one in figures]
        ratio = [f"{values[0] / values[1]:.2f}" if values[1] else "-"] if len(values) == 2 else []
        rows.append([name, *(f"{value:g}" for value in values), *ratio])
    return "\n".join(f"{row[0]:22}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Load our broker and mosquitto, and compare.")
    parser.add_argument("--connections", type=int, default=1000, choices=range(1, 5001), metavar="1..5000")
    parser.add_argument("--messages", type=int, default=10_000, choices=range(PAIRS, 1_000_001), metavar="N")
    parser.add_argument("--only", choices=BROKERS, help="measure one broker")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    options = parser.parse_args()
    figures: list[LoadFigures] = []
    with tempfile.TemporaryDirectory() as directory:
        certificates = Certificates(Path(directory))
        for name in [options.only] if options.only else BROKERS:
            figures.append(  # noqa: PERF401 - the progress is worth a line each
                measure(name, certificates, connections=options.connections, messages=options.messages)
            )
    text = json.dumps([asdict(one) for one in figures], indent=2) if options.json else table(figures)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
