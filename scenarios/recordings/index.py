"""A search index: documents are made, indexed and asked for words, of which a few are common and most are rare."""

import json
from collections.abc import Iterator


def drawn() -> Iterator[int]:
    """Numbers that are the same in every run."""
    state = 1
    while True:
        state = state * 48271 % 2147483647
        yield state


SOURCE = drawn()
SYLLABLES = ["ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu"]


def draw(limit: int) -> int:
    """Draw a number below `limit`."""
    return next(SOURCE) % limit


words = ["".join(SYLLABLES[draw(15)] for _ in range(2 + draw(4))) for _ in range(2000)]

documents: dict[int, str] = {}
index: dict[str, list[tuple[int, int]]] = {}
for number in range(24000):
    text = [words[draw(2000) * draw(2000) * draw(2000) // 4000000] for _ in range(90)]
    documents[number] = json.dumps({"id": number, "title": " ".join(text[:7]), "body": " ".join(text)})
    for place, word in enumerate(text[:7]):
        index.setdefault(word, []).append((number, place))

found = 0
for _ in range(250):
    pair = [words[draw(400)], words[draw(400)]]
    sets = [{number for number, _ in index.get(word, [])} for word in pair]
    for number in sorted(sets[0] & sets[1])[:20]:
        found += len(json.loads(documents[number])["title"])
print(found, len(index), sum(map(len, index.values())))  # noqa: T201
