"""What outlives a process: records, blobs and logs on disk."""
