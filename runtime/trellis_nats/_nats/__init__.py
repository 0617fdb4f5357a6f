"""The NATS layer: the only importer of `nats`.

nats-py provides the handshake, authentication, TLS and the parser. This package adds what keeps work alive, from the
bottom up: `wire` (messages as bytes), `link` (one TCP connection), `connection` (which survives its links) and
`jetstream`. Every error that leaves this package is one of `trellis_nats.errors`.
"""
