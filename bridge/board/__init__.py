"""A board behind a port URL."""

from bridge.board.at_client import AtClient
from bridge.board.board import Board
from bridge.board.boot import BootReport
from bridge.board.identity import BoardIdentity
from bridge.board.link import Link
from bridge.board.modem import Modem
from bridge.board.ports import PortInfo, choose_port, find_port, list_ports

__all__ = [
    "AtClient",
    "Board",
    "BoardIdentity",
    "BootReport",
    "Link",
    "Modem",
    "PortInfo",
    "choose_port",
    "find_port",
    "list_ports",
]
