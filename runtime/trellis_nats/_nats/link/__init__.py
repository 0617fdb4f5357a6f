"""One TCP or WebSocket link to one server: dialing, the transport, the settings, the backoff between attempts."""
