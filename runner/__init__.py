"""Local language models as easy as Docker Model Runner: an OpenAI server and CLI over llama.cpp."""

__version__ = "0.1.0"
