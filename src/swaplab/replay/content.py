"""How many bytes a page compresses to: looked up, since every sample was compressed once, by the real compressor."""

from __future__ import annotations

from swaplab.replay.jit import inline, jit, wide
from swaplab.replay.state import UNKNOWN, State
from swaplab.scenario.content import sample_hash

__all__ = ["compressed_length"]

hash_of = jit(sample_hash)


@jit
def look_up(m: State, page: int) -> int:
    """Compressed bytes of what `page` holds now."""
    kind = wide(m.folios[page].kind)
    nr_pages = wide(m.sizes.nr_pages)
    origin = page if page < nr_pages else wide(m.rmaps[page - nr_pages].origin)
    sample = hash_of(origin, wide(m.folios[page].version)) % wide(m.count[kind])
    return wide(m.lengths[wide(m.first[kind]) + sample])


@inline
def compressed_length(m: State, page: int) -> int:
    """Compressed bytes of what `page` holds now (may exceed 4096); 0 for a zero-filled page."""
    folio = m.folios[page]
    if folio.length == UNKNOWN:
        folio.length = look_up(m, page)
    return wide(folio.length)
