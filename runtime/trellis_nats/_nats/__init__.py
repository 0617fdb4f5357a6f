"""The JetStream layer: the only importer of `nats`.

nats-py brings the handshake, authentication, TLS and the parser. What keeps work alive is ours: the connection that is
built again for ever (`connection`), acknowledged publishing (`publish`), pulling (`pull`) and progress acks from a
thread of their own (`heartbeat`). Every error that leaves this package is one of `trellis_nats.errors`.
"""
