"""How a build of Zephyr's SMP server is configured, by the defaults of its Kconfig.

Sources: Zephyr ``subsys/mgmt/mcumgr/transport/Kconfig*``, ``grp/img_mgmt/Kconfig`` and ``grp/os_mgmt/Kconfig``.
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
        frugal_list: ``MCUMGR_GRP_IMG_FRUGAL_LIST``: flags that are not set are left out of the image list.
        image_check: ``IMG_ENABLE_IMAGE_CHECK``: a full ``sha`` is compared with what is in the slot; the last answer of an
            upload has ``match``.
        boot_mode: ``MCUMGR_GRP_OS_RESET_BOOT_MODE``: a reset may ask for the bootloader. Zephyr 4.2 and later.
        reset_busy: ``MCUMGR_GRP_OS_RESET_HOOK``, with an application that refuses every reset which is not forced.
        no_downgrade: ``MCUBOOT_BOOTLOADER_NO_DOWNGRADE``: the bootloader's mode comes with ``no-downgrade``.
        os_info: ``MCUMGR_GRP_OS_INFO``.
    """

    buffer_bytes: int = 384
    buffer_count: int = 4
    line_bytes: int = 128
    progressive_erase: bool = False
    legacy_rc: bool = False
    frugal_list: bool = False
    image_check: bool = False
    boot_mode: bool = False
    reset_busy: bool = False
    no_downgrade: bool = False
    os_info: bool = True
