"""smpclient (Intercreate), unmodified, against MCUboot's serial recovery on a virtual board."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from smp.error import MGMT_ERR
from smp.image_management import ImageManagementErrorV1
from smp.os_management import OSManagementErrorV1
from smpclient import SMPClient
from smpclient.exceptions import SMPUploadError
from smpclient.generics import success
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import EchoWrite, ResetWrite
from smpclient.transport.serial import SMPSerialTransport

from bridge.virtual.faults import ByteFault, FaultPlan
from hil_tests.contracts.peer_bench import PLAIN, RICH, SECONDARY, PeerBench, peer_bench

pytestmark = pytest.mark.contract


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=PLAIN) as bench:
        yield bench


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[PeerBench]:
    with peer_bench(tmp_path, recovery=RICH) as bench:
        yield bench


def client_of(bench: PeerBench) -> SMPClient:
    return SMPClient(SMPSerialTransport(), bench.port)


async def upload(client: SMPClient, bench: PeerBench, slot: int = 0) -> list[int]:
    return [offset async for offset in client.upload(bench.image, slot)]


def test_given_plain_recovery_when_uploaded_and_reset_then_the_new_image_runs(plain: PeerBench) -> None:
    async def update() -> None:
        async with client_of(plain) as client:
            offsets = await upload(client, plain)
            assert offsets == sorted(offsets)
            listed = await client.request(ImageStatesRead())
            assert success(listed)
            assert [(image.slot, image.version) for image in listed.images] == [(0, "1.1.0")]
            assert listed.images[0].confirmed is None, "a plain build does not say"
            # Recovery says "rc: 0", which smpclient's types count as an error of the first version.
            answer = await client.request(ResetWrite())
            assert isinstance(answer, OSManagementErrorV1)
            assert answer.rc is MGMT_ERR.EOK

    asyncio.run(update())
    assert plain.board.wait_for_event("ready").details == {"version": "1.1.0"}
    plain.assert_landed(plain.board.layout.primary)


def test_given_rich_recovery_when_uploaded_tested_and_confirmed_then_the_update_is_a_trial(
    rich: PeerBench,
) -> None:
    async def update() -> None:
        async with client_of(rich) as client:
            assert success(await client.request(EchoWrite(d="hello")))
            await upload(client, rich, SECONDARY)
            rich.assert_landed(rich.board.layout.secondary)
            new = bytes.fromhex(rich.digest)
            marked = await client.request(ImageStatesWrite(hash=new))
            assert success(marked)
            assert marked.images[1].pending
            await client.request(ResetWrite())
            await asyncio.to_thread(rich.board.wait_for_event, "ready")
            assert success(await client.request(ImageStatesWrite(confirm=True)))
            assert success(await client.request(ResetWrite()))
            await asyncio.to_thread(rich.board.wait_for_event, "ready", count=2)

    asyncio.run(update())
    assert rich.versions_started() == ["1.1.0", "1.1.0"]


def test_given_half_an_upload_then_the_next_one_starts_at_the_beginning(plain: PeerBench) -> None:
    async def first_half() -> None:
        async with client_of(plain) as client:
            async for offset in client.upload(plain.image):
                if offset > len(plain.image) // 2:
                    return

    async def again() -> list[int]:
        async with client_of(plain) as client:
            return await upload(client, plain)

    asyncio.run(first_half())
    offsets = asyncio.run(again())
    assert offsets[0] < 1024
    plain.assert_landed(plain.board.layout.primary)


def test_given_a_byte_that_is_lost_then_smpclient_gives_up(tmp_path: Path) -> None:
    async def update(bench: PeerBench) -> None:
        async with client_of(bench) as client:
            with pytest.raises(TimeoutError):
                await upload(client, bench)

    with peer_bench(tmp_path, recovery=PLAIN, faults=FaultPlan(rx={5_000: ByteFault.DROP})) as bench:
        asyncio.run(update(bench))


def test_given_what_recovery_cannot_do_then_smpclient_understands_the_refusal(plain: PeerBench) -> None:
    async def provoke() -> None:
        async with client_of(plain) as client:
            refusals = (
                await client.request(ImageErase()),
                await client.request(ImageStatesWrite(confirm=True)),
            )
            for refused in refusals:
                assert isinstance(refused, ImageManagementErrorV1)
                assert refused.rc is MGMT_ERR.ENOTSUP
            with pytest.raises(SMPUploadError):
                await upload(client, plain, SECONDARY)

    asyncio.run(provoke())
