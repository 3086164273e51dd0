"""OpenAI's Responses API: requests of items, answers of items, and what is kept of both."""
