"""What streams, consumers and buckets must look like, and seeing to it.

`plan` says what is wanted, `compare` says what differs, `apply` looks and creates. Nothing that exists is altered.
"""

from trellis_nats.provision.apply import provision
from trellis_nats.provision.compare import unfitness
from trellis_nats.provision.requirements import BucketNeed, QueueNeed, Requirements, requirements_of

__all__ = ["BucketNeed", "QueueNeed", "Requirements", "provision", "requirements_of", "unfitness"]
