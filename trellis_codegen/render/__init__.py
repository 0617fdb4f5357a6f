"""Plan → files in memory. Nothing here touches the disk, except to read the templates."""
