"""A virtual board for one test, on a pseudo-terminal: tests, commands and other programs open it like a real one."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bridge.board.power import VirtualPower
from bridge.fota.bench_file import BenchBoard
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.markers import Needs
from bridge.virtual.board import VirtualBoard
from bridge.virtual.layout import board_model
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.serial_modem_options import SerialModemOptions

DEFAULT_MODEL = "nrf9151dk"


class VirtualCable:
    """The cable between this host and a virtual board: a link in a directory, as udev makes them, to a pty.

    Args:
        board: The board.
        link: Name under which the port is found.
    """

    def __init__(self, board: VirtualBoard, link: Path) -> None:
        self.link = link
        self._board = board
        self._pty: PtyServer | None = None

    def plug(self) -> None:
        """Connect; the port has another name than the last time, and the link leads to it."""
        if self._pty is None:
            self._pty = PtyServer(self._board).start()
            draft = self.link.with_suffix(".new")
            draft.symlink_to(self._pty.path)
            draft.replace(self.link)

    def unplug(self) -> None:
        """Pull the cable: the port is gone, in the middle of whatever goes on."""
        pty, self._pty = self._pty, None
        if pty is not None:
            self.link.unlink(missing_ok=True)
            pty.stop()


class VirtualDevice(DeviceUnderTest):
    """A virtual board under test.

    Attributes:
        virtual: The board from the inside; for faults, and for tests that say that they need a virtual one.
        cable: Its cable.
    """

    def __init__(self, bench_board: BenchBoard, virtual: VirtualBoard, cable: VirtualCable) -> None:
        super().__init__(bench_board, is_virtual=True)
        self.virtual = virtual
        self.cable = cable


@contextmanager
def virtual_device(
    needs: Needs, images: Images, directory: Path, model: str | None
) -> Iterator[VirtualDevice]:
    """A board that is built as a test needs it, running and plugged in.

    Args:
        needs: What the test needs.
        images: Has the application that it runs.
        directory: For the link to its port.
        model: Board model.
    """
    with ExitStack() as stack:
        board = stack.enter_context(_build(needs, images, model or DEFAULT_MODEL))
        cable = VirtualCable(board, directory / "nrf91-board")
        cable.plug()
        stack.callback(cable.unplug)
        if board.firmware == "serial-modem" and "factory_image" not in needs.options:
            board.wait_for_event("ready")
        spec = BenchBoard(
            name="virtual",
            serial_number="",
            port=str(cable.link),
            model=board.model,
            flow_control=board_model(board.model).flow_control,
            power=VirtualPower(lambda: board),
        )
        device = VirtualDevice(spec, board, cable)
        stack.callback(device.release)
        yield device


def _build(needs: Needs, images: Images, model: str) -> VirtualBoard:
    options: dict[str, Any] = {
        "firmware": needs.firmware,
        "factory_image": images.baseline.read_bytes(),
        "keys": [images.build.public_key_pem],
        "serial_modem": SerialModemOptions(modem_full="modem-full" in needs.kinds),
        **_called(needs.options, images),
    }
    return VirtualBoard(options.pop("model", model), **options)


def _called(options: Mapping[str, Any], images: Images) -> dict[str, Any]:
    """Options that depend on images are functions of them."""
    return {name: value(images) if callable(value) else value for name, value in options.items()}
