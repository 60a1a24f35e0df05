"""HTTP(S) download with ranges, resume and a cache."""

from bridge.fetch.arrival import SourceRestartedError
from bridge.fetch.download import Download, DownloadProgress
from bridge.fetch.host_names import HostPattern
from bridge.fetch.hosts import THIS_HOST, HostRules
from bridge.fetch.options import DownloadOptions
from bridge.fetch.redact import redact_url

__all__ = [
    "THIS_HOST",
    "Download",
    "DownloadOptions",
    "DownloadProgress",
    "HostPattern",
    "HostRules",
    "SourceRestartedError",
    "redact_url",
]
