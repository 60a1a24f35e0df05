"""labgrid's view of a board: resource, driver and strategy, for the ``imports:`` list of its environment files.

Needs labgrid (``pip install nrf91-bridge[labgrid]``), in an environment of its own: labgrid brings a fork of pyserial that is
installed under the same name. :mod:`bridge.lab.labgrid.reservation` and :mod:`bridge.lab.labgrid.network_port` do without.

Sources: labgrid 26.0.1 (``labgrid/driver``, ``labgrid/strategy``, ``labgrid/remote``) and its documentation.
"""

from importlib.util import find_spec

if find_spec("labgrid") is not None:
    from bridge.lab.labgrid.board import NrfBoard, NrfBridgeDriver
    from bridge.lab.labgrid.strategy import NrfStrategy

    __all__ = ["NrfBoard", "NrfBridgeDriver", "NrfStrategy"]
