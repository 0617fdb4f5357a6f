"""Transfers: callers download objects of a service's stores, and upload content for operations."""

from trellis_nats.transfers.call import DownloadCall
from trellis_nats.transfers.download import Download
from trellis_nats.transfers.endpoint import DownloadEndpoint
from trellis_nats.transfers.progress import TransferProgress

__all__ = ["Download", "DownloadCall", "DownloadEndpoint", "TransferProgress"]
