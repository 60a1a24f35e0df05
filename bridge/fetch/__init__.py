"""HTTP(S) download with ranges, resume and a cache."""

from bridge.fetch.arrival import SourceRestartedError
from bridge.fetch.download import Download, DownloadProgress
from bridge.fetch.options import DownloadOptions
from bridge.fetch.redact import redact_url

__all__ = ["Download", "DownloadOptions", "DownloadProgress", "SourceRestartedError", "redact_url"]
