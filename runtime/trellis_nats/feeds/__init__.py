"""Feeds: a service streams events to each caller that opens one."""

from trellis_nats.feeds.call import FeedCall
from trellis_nats.feeds.context import FeedContext
from trellis_nats.feeds.endpoint import FeedEndpoint
from trellis_nats.feeds.subscription import FeedSubscription

__all__ = ["FeedCall", "FeedContext", "FeedEndpoint", "FeedSubscription"]
