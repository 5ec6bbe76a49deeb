"""The layer that tokens are read off, for stores that hold the vectors of another one."""

from functools import partial
from pathlib import Path

from vectok.extraction import Utterance, extract
from vectok.features import Vectoriser, fit_statistics
from vectok.frames import seconds_of_frames
from vectok.store import FeatureStore

SHARD_SECONDS = 1800.0
_OWN_COLUMNS = ("utterance", "shard", "start", "n_frames", "n_samples")  # which a store writes itself


def reader_of(
    vectoriser: Vectoriser, layer: int, store: FeatureStore, statistics_minutes: float, seed: int
) -> Vectoriser:
    """What reads another layer of the same encoder, with channel statistics of its own.

    Arguments:
        vectoriser: Of the vectors; comes back itself when the layer is its own.
        layer: That tokens are read off.
        store: Recordings.
        statistics_minutes: Of training speech, drawn at random, behind each channel's mean and deviation.
        seed: Of the draw.
    Raises:
        ValueError: The encoder has no such layer.
    """
    if layer == vectoriser.layer:
        return vectoriser
    vectoriser.encoder.check_layer(layer)
    train = store.index[store.index["split"] == "train"].sample(frac=1, random_state=seed)
    some = train[train["seconds"].cumsum() <= max(60 * statistics_minutes, train["seconds"].iloc[0])]
    statistics = fit_statistics(vectoriser.encoder, layer, map(store.audio, some["utterance"]))
    return Vectoriser(vectoriser.encoder, layer, statistics)


def at_layer(store: FeatureStore, vectors_layer: int, reader: Vectoriser, folder: Path, label: str) -> FeatureStore:
    """The same utterances in the same order, seen at the reader's layer; the store itself where that is its own.

    Arguments:
        store: Speech vectors beside their audio.
        vectors_layer: Of the encoder, that the store holds.
        reader: From :func:`reader_of`.
        folder: Where the frames of the other layer are kept; an interrupted run goes on there.
        label: Stands before the progress bar.
    """
    if reader.layer == vectors_layer:
        return store
    utterances = [
        Utterance(
            name=row["utterance"],
            seconds=seconds_of_frames(row["n_frames"]),
            read=partial(store.audio, row["utterance"]),
            metadata={name: value for name, value in row.items() if name not in _OWN_COLUMNS},
        )
        for row in store.index.to_dict("records")
    ]
    view = extract(reader, utterances, folder, SHARD_SECONDS, label).store
    rows = view.index.set_index("utterance").loc[store.index["utterance"]]
    if rows["n_frames"].tolist() != store.index["n_frames"].tolist():
        raise ValueError(f"{folder}: other lengths than in {store.folder}: delete it and run the stage again")
    view.index = rows.reset_index()
    return view
