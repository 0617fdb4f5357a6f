"""Reply subjects of deliveries: old and new form."""

import pytest
from trellis_nats._nats.jetstream.ack_subject import split_ack_subject


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.WORK.workers.3.11.12.1795450165816904257.5",
        "$JS.ACK._.AHASH.WORK.workers.3.11.12.1795450165816904257.5",
        "$JS.ACK.hub.AHASH.WORK.workers.3.11.12.1795450165816904257.5.random",
        "$JS.ACK.hub.AHASH.WORK.workers.3.11.12.1795450165816904257.5.random.more",
    ],
)
def test_both_forms_have_the_same_numbers(reply: str) -> None:
    assert split_ack_subject(reply) == ["3", "11", "12", "1795450165816904257", "5"]


@pytest.mark.parametrize(
    "reply", ["", "_INBOX.1", "$JS.ACK.too.short", "$JS.ACK.hub.WORK.workers.3.11.12.1795450165816904257.5"]
)
def test_other_subjects_are_refused(reply: str) -> None:
    with pytest.raises(ValueError, match="is not an ack subject"):
        split_ack_subject(reply)
