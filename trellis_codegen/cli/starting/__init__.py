"""`trellis-gen init`: a new project that runs as it is."""
