"""OpenAI's routes: chat completions and models, with llama-server's additions."""
