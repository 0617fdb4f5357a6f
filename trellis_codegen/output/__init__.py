"""Files in memory → disk: compared, written, pruned. Nothing outside the package's own folder is touched."""
