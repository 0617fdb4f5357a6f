"""Compares, writes and deletes the files of a package. Nothing outside the package's own folder is touched."""
