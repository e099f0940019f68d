"""What an archive knows of the model behind its vectors: from its hasher and from its scenes."""

from collections.abc import Iterable
from dataclasses import replace

from geohash_rs.hashing.embedding import Embedding
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = [
    "MODEL",
    "completed",
    "embedding_of",
    "known_embedding",
    "records_of",
    "remember",
    "said_of",
]

MODEL = "vectors_model"  # setting of a scene's record


def said_of(embedding: Embedding) -> dict[str, str]:
    """Return what an embedding says, for the record of a scene.

    Args:
        embedding: The embedding.

    Returns:
        Model, version and variant, each "" if nobody said.
    """
    return {
        "model": embedding.model,
        "version": embedding.version,
        "variant": embedding.variant,
    }


def remember(archive: CodeStore, embedding: Embedding) -> None:
    """Store what the first named vectors say that came without a record of their scene.

    Args:
        archive: The archive, open for writing.
        embedding: Where the vectors come from.
    """
    if embedding.model and MODEL not in archive.manifest.attrs:
        archive.update_attrs({MODEL: said_of(embedding)})


def records_of(archive: CodeStore) -> list[SceneRecord]:
    """Return the records that may name a model: those of the scenes, and of what came without any.

    Args:
        archive: The archive.

    Returns:
        The records.
    """
    said = archive.manifest.attrs.get(MODEL)
    own = [] if said is None else [SceneRecord(scene="", settings={MODEL: said})]
    return [*archive.scenes(), *own]


def embedding_of(record: SceneRecord, *, dimensions: int) -> Embedding | None:
    """Return the embedding that a record names.

    Args:
        record: The record, perhaps of somebody else's archive.
        dimensions: Numbers of a vector.

    Returns:
        The embedding; None if the record names none.
    """
    said = record.settings.get(MODEL)
    if not isinstance(said, dict):
        return None
    model, version, variant = (
        value if isinstance(value := said.get(name), str) else ""
        for name in ("model", "version", "variant")
    )
    return Embedding(model, dimensions, version=version, variant=variant)


def completed(embedding: Embedding, others: Iterable[Embedding]) -> Embedding:
    """Complete what an embedding does not say with what others say that fit it.

    Args:
        embedding: The embedding.
        others: Others, the first of which count first.

    Returns:
        The embedding with all that is known.
    """
    for other in others:
        if embedding.fits(other):
            embedding = replace(
                embedding,
                model=embedding.model or other.model,
                version=embedding.version or other.version,
                variant=embedding.variant or other.variant,
            )
    return embedding


def known_embedding(embedding: Embedding, records: Iterable[SceneRecord]) -> Embedding:
    """Return what an archive knows of the model behind its vectors.

    Args:
        embedding: That of its hasher, which says only what the first vectors said.
        records: Its scenes.

    Returns:
        The embedding, with what the scenes say.
    """
    found = (embedding_of(record, dimensions=embedding.dimensions) for record in records)
    return completed(embedding, (one for one in found if one is not None))
