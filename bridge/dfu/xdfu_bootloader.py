"""MCUboot's own update by ``#XDFU`` type 3: into the secondary slot, like an application.

The running MCUboot finds there that the image is linked for its other slot (s0 or s1) and copies it; the immutable
bootloader in front of it then starts the copy with the higher counter. Nothing on that way refuses an image for the
wrong slot or with a counter that is too low before it is too late, so :mod:`bridge.fota.policy` does.

Sources: ncs-serial-modem ``doc/app/at_dfu.rst``, ``app/src/sm_at_dfu.c`` (types 0 and 3 share their code).
"""

from collections.abc import Mapping
from typing import ClassVar

from bridge.dfu.xdfu import XdfuTarget
from bridge.image import ImageKind
from bridge.wire.xdfu import XdfuType


class XdfuBootloaderTarget(XdfuTarget):
    """One transfer of an MCUboot image for the inactive slot; see :class:`~bridge.dfu.xdfu.XdfuTarget`."""

    _types: ClassVar[Mapping[ImageKind, XdfuType]] = {
        ImageKind.MCUBOOT_BOOTLOADER: XdfuType.MCUBOOT_BOOTLOADER
    }
