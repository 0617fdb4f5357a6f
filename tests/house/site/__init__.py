"""The documentation as a site: `make docs` builds it into site/, offline, from docs/ and the sources."""
