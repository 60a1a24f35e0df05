"""What a board really runs, read from its memory and compared byte by byte with what was ever sent to it."""

from bridge.lab.campaign.scenario import Images, Scenario
from bridge.virtual.board import VirtualBoard
from bridge.virtual.immutable_bootloader import active_bootloader


def running_version(board: VirtualBoard, scenario: Scenario, images: Images) -> str | None:
    """Version of the part that a scenario updates; None when there is nothing whole."""
    if scenario.part == "modem":
        firmware = board.modem_nvm.firmware
        return None if firmware is None else firmware.version
    if scenario.part == "bootloader":
        active = active_bootloader(board.flash, board.layout)
        return None if active is None else str(active.version)
    return application_version(board, scenario, images)


def application_version(board: VirtualBoard, scenario: Scenario, images: Images) -> str | None:
    """Version of the application in the primary slot; None when it is none of the images, byte for byte."""
    versions = scenario.versions if scenario.part == "application" else ("1.0.0",)
    for version, image in images.applications:
        if version not in versions:
            continue
        if board.flash.read(board.layout.primary.address, len(image)) == image:
            return version
    return None
