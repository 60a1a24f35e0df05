"""Sources that hold packages: what the update line sees of them, and when."""

from bridge.fota.inspection import InspectedSource
from bridge.image import BytesSource, ImageKind
from hil_tests.unit.image.build import dfu_package, mcuboot, modem_full, zipped

NOTHING: frozenset[ImageKind] = frozenset()
FULL = modem_full(100, 200)
RELEASE = zipped({"mfw_nrf91x1_2.0.2.cbor": FULL})


class Arriving(BytesSource):
    """Counts what was asked of it, as a download would see it."""

    completed = 0
    closed = 0

    def wait_complete(self) -> None:
        self.completed += 1

    def close(self) -> None:
        self.closed += 1


def test_a_package_is_waited_for_before_it_is_looked_into() -> None:
    download = Arriving(RELEASE, "mfw_nrf91x1_2.0.2.zip")
    source = InspectedSource(download)
    head = source.read_head()
    assert download.completed
    assert (head.kind, head.version) == (ImageKind.MODEM_PACKAGE, "2.0.2")
    assert source.wait_size() == len(RELEASE)
    source.close()
    assert download.closed == 1


def test_an_image_that_is_no_package_is_not() -> None:
    download = Arriving(mcuboot(), "app.bin")
    source = InspectedSource(download)
    assert source.fit_board(NOTHING, None) == source.read_head()
    assert not download.completed


def test_a_package_that_the_route_writes_stays_whole_unless_a_member_is_asked_for() -> None:
    kinds = frozenset({ImageKind.MODEM_PACKAGE})
    source = InspectedSource(BytesSource(RELEASE, "mfw_nrf91x1_2.0.2.zip"))
    assert source.fit_board(kinds, None).kind is ImageKind.MODEM_PACKAGE
    assert source.read(0, len(RELEASE)) == RELEASE
    source = InspectedSource(BytesSource(RELEASE, "mfw_nrf91x1_2.0.2.zip"), "mfw_nrf91x1_2.0.2.cbor")
    assert source.fit_board(kinds, None).kind is ImageKind.MODEM_FULL


def test_for_any_other_route_the_image_takes_its_place() -> None:
    source = InspectedSource(BytesSource(dfu_package(), "dfu_application.zip"))
    head = source.fit_board(frozenset({ImageKind.APPLICATION}), None)
    image = mcuboot()
    assert (head.kind, source.name, source.wait_size()) == (
        ImageKind.APPLICATION,
        "app.signed.bin",
        len(image),
    )
    assert source.read(0, len(image)) == image
    found = source.finish_inspection()
    assert source.expected_sha256 == found.sha256
    assert found.mcuboot is not None
