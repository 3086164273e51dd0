"""Docker Model Runner's routes for models and engines, and those that tell of the server."""
