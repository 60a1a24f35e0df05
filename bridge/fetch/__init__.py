"""HTTP(S) download with ranges, resume and a cache."""

from bridge.fetch.download import Download
from bridge.fetch.patience import DownloadOptions
from bridge.fetch.redact import redact_url

__all__ = ["Download", "DownloadOptions", "redact_url"]
