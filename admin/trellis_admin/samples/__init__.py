"""`trellis audit export`: samples of what waits, redacted, that CI reads with every later contract."""

from trellis_admin.samples.exporting import Exported, ExportRequest, export_samples, load_manifest
from trellis_admin.samples.folder import Sample, write_samples
from trellis_admin.samples.redaction import Redacted, Redaction, parse_pointer

__all__ = [
    "ExportRequest",
    "Exported",
    "Redacted",
    "Redaction",
    "Sample",
    "export_samples",
    "load_manifest",
    "parse_pointer",
    "write_samples",
]
