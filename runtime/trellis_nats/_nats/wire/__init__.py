"""Messages and headers as bytes. Pure."""
