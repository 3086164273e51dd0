"""Ollama's API: its routes under ``/api``, for the clients that people have."""
