"""Runtime of generated Trellis packages."""
