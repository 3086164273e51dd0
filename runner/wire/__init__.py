"""All that crosses the pipe between the daemon and a worker: message types, their codec, and framing. Pure."""
