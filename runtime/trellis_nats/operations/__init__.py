"""Operations: long calls that are stored, report progress, and outlive the processes that run and watch them."""

from trellis_nats.operations.active import ActiveOperation, AttachableJob, Deferred
from trellis_nats.operations.call import OperationCall
from trellis_nats.operations.endpoint import OperationEndpoint
from trellis_nats.operations.model.states import OperationState, ResumePolicy, UpdateType
from trellis_nats.operations.model.transfer import TransferProgress
from trellis_nats.operations.run import OperationRun, SignalAccepted, SignalCall
from trellis_nats.operations.service_ref import OperationRef
from trellis_nats.operations.snapshot import OperationSnapshot, OperationUpdate

__all__ = [
    "ActiveOperation",
    "AttachableJob",
    "Deferred",
    "OperationCall",
    "OperationEndpoint",
    "OperationRef",
    "OperationRun",
    "OperationSnapshot",
    "OperationState",
    "OperationUpdate",
    "ResumePolicy",
    "SignalAccepted",
    "SignalCall",
    "TransferProgress",
    "UpdateType",
]
