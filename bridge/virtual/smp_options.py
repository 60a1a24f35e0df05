"""How a build of Zephyr's SMP server is configured, by the defaults of its Kconfig.

Sources: Zephyr ``subsys/mgmt/mcumgr/transport/Kconfig*`` and ``grp/img_mgmt/Kconfig``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SmpOptions:
    """Kconfig of the server.

    Attributes:
        buffer_bytes: ``MCUMGR_TRANSPORT_NETBUF_SIZE``; a message may have four bytes less.
        buffer_count: ``MCUMGR_TRANSPORT_NETBUF_COUNT``; further messages are dropped.
        line_bytes: ``UART_MCUMGR_RX_BUF_SIZE``: longest line with its end.
        progressive_erase: ``IMG_ERASE_PROGRESSIVELY``: pages are erased when data for them comes, not all at first.
        legacy_rc: ``MCUMGR_SMP_LEGACY_RC_BEHAVIOUR``: ``rc`` also where nothing went wrong.
    """

    buffer_bytes: int = 384
    buffer_count: int = 4
    line_bytes: int = 128
    progressive_erase: bool = False
    legacy_rc: bool = False
