"""llama-server's own routes, for the editors and tools that were written for it."""
