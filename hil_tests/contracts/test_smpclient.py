"""smpclient uploads to, tests, confirms and reverts on the virtual board, over a pty; imgtool judges what is in flash."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smp.image_management import ImageManagementErrorV2, ImageState
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.image_management import ImageErase, ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import EchoWrite, ResetWrite
from smpclient.transport.serial import SMPSerialTransport

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer

pytestmark = pytest.mark.contract

_IMGTOOL = "from imgtool.main import imgtool; imgtool()"


class Bench:
    """A virtual board on a pty, and smpclient's view of it."""

    def __init__(self, board: VirtualBoard, port: str, samples: SampleImages) -> None:
        self.board = board
        self.port = port
        self.samples = samples
        self.image = samples.application("1.1.0").read_bytes()

    def client(self) -> SMPClient:
        return SMPClient(SMPSerialTransport(), self.port)

    def flash_of_secondary(self) -> bytes:
        slot = self.board.layout.secondary
        return self.board.call(lambda: self.board.flash.read(slot.address, slot.size))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    samples = SampleImages(tmp_path / "images")
    board = VirtualBoard(
        firmware="smp",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
    )
    with board, PtyServer(board) as pty:
        board.wait_for_event("ready")
        yield Bench(board, pty.path, samples)


async def states(client: SMPClient) -> list[ImageState]:
    answer = await client.request(ImageStatesRead())
    assert success(answer), answer
    return list(answer.images)


async def upload_and_test(client: SMPClient, image: bytes) -> None:
    offsets = [offset async for offset in client.upload(image)]
    assert offsets[-1] == len(image)
    assert offsets == sorted(offsets)
    new = (await states(client))[1]
    answer = await client.request(ImageStatesWrite(hash=new.hash))
    assert success(answer), answer
    assert (await states(client))[1].pending


async def restart(bench: Bench, client: SMPClient, boots: int) -> None:
    assert success(await client.request(ResetWrite()))
    await asyncio.to_thread(bench.board.wait_for_event, "ready", count=boots)


def test_given_an_image_when_uploaded_tested_and_confirmed_then_it_stays(
    bench: Bench, tmp_path: Path
) -> None:
    async def update() -> None:
        async with bench.client() as client:
            assert success(await client.request(EchoWrite(d="hello")))
            await upload_and_test(client, bench.image)
            landed = bench.flash_of_secondary()[: len(bench.image)]
            assert hashlib.sha256(landed).digest() == hashlib.sha256(bench.image).digest()
            (tmp_path / "landed.bin").write_bytes(landed)
            await restart(bench, client, 2)
            running, old = await states(client)
            assert (running.version, running.confirmed, old.confirmed) == ("1.1.0", False, True)
            assert success(await client.request(ImageStatesWrite(confirm=True)))
            await restart(bench, client, 3)
            assert (await states(client))[0].version == "1.1.0"

    asyncio.run(update())
    key = tmp_path / "key.pem"
    key.write_bytes(bench.samples.public_key_pem)
    command = [sys.executable, "-c", _IMGTOOL, "verify", "-k", str(key), str(tmp_path / "landed.bin")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_given_an_image_that_is_not_confirmed_when_reset_again_then_the_old_one_is_back(bench: Bench) -> None:
    async def update() -> None:
        async with bench.client() as client:
            await upload_and_test(client, bench.image)
            await restart(bench, client, 2)
            assert (await states(client))[0].version == "1.1.0"
            await restart(bench, client, 3)
            assert (await states(client))[0].version == "1.0.0"

    asyncio.run(update())


def test_given_half_an_upload_when_another_client_goes_on_then_it_resumes_by_sha(bench: Bench) -> None:
    async def first_half() -> int:
        async with bench.client() as client:
            async for offset in client.upload(bench.image):
                if offset > len(bench.image) // 2:
                    return offset
        raise AssertionError("the upload was shorter than half")

    async def second_half() -> list[int]:
        async with bench.client() as client:
            return [offset async for offset in client.upload(bench.image)]

    reached = asyncio.run(first_half())
    offsets = asyncio.run(second_half())
    assert offsets[0] >= reached
    assert offsets[-1] == len(bench.image)
    assert bench.flash_of_secondary()[: len(bench.image)] == bench.image


def test_given_an_unknown_digest_and_a_pending_slot_then_smpclient_understands_the_errors(
    bench: Bench,
) -> None:
    async def provoke() -> None:
        async with bench.client() as client:
            unknown = await client.request(ImageStatesWrite(hash=bytes(32)))
            assert isinstance(unknown, ImageManagementErrorV2)
            assert unknown.err.rc == 8
            await upload_and_test(client, bench.image)
            refused = await client.request(ImageErase())
            assert isinstance(refused, ImageManagementErrorV2)
            assert refused.err.rc == 9

    asyncio.run(provoke())
