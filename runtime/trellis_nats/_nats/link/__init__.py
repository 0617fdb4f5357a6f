"""One TCP link to one server: dialing, the transport, the settings, the backoff between attempts."""
