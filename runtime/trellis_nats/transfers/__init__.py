"""Transfers: callers download objects of a service's stores, and upload content for operations."""

from trellis_nats.transfers.active_upload import ActiveUpload
from trellis_nats.transfers.call import DownloadCall
from trellis_nats.transfers.download import Download
from trellis_nats.transfers.endpoint import DownloadEndpoint
from trellis_nats.transfers.upload_call import UploadCall
from trellis_nats.transfers.upload_endpoint import UploadEndpoint

__all__ = ["ActiveUpload", "Download", "DownloadCall", "DownloadEndpoint", "UploadCall", "UploadEndpoint"]
