"""Pickles in disguise are found; numbers, text and noise are none. What is unpickled is seen."""

import base64
import bz2
import collections
import gzip
import io
import lzma
import pickle
import threading
import zlib

import joblib
import numpy as np
import pytest

from mlgen.testing.pickles import disguised_pickle, unpickled

MODEL = collections.OrderedDict(weights=np.arange(3.0), name="model")


def as_bytes(content):
    return np.frombuffer(content, np.uint8).copy()


def padded(content):
    return content + b"\0" * (-len(content) % 8)


def joblib_dump(**options):
    stream = io.BytesIO()
    joblib.dump(MODEL, stream, **options)
    return stream.getvalue()


def torch_save(**options):
    import torch

    stream = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2).state_dict(), stream, **options)
    return stream.getvalue()


DISGUISED = {
    **{f"protocol {number}": as_bytes(pickle.dumps(MODEL, number)) for number in range(6)},
    "nothing but numbers": as_bytes(pickle.dumps([1, 2, 3])),
    "as floats in memory": np.frombuffer(padded(pickle.dumps(MODEL)), np.float64),
    "a float for each byte": as_bytes(pickle.dumps(MODEL)).astype(np.float64),
    "an integer for each byte": as_bytes(pickle.dumps(MODEL)).astype(np.int64),
    "in rows": as_bytes(padded(pickle.dumps(MODEL))).reshape(-1, 8),
    "zlib": as_bytes(zlib.compress(pickle.dumps(MODEL))),
    "gzip": as_bytes(gzip.compress(pickle.dumps(MODEL))),
    "bz2": as_bytes(bz2.compress(pickle.dumps(MODEL))),
    "xz": as_bytes(lzma.compress(pickle.dumps(MODEL))),
    "base64": as_bytes(base64.b64encode(pickle.dumps(MODEL))),
    "base64 of zlib": as_bytes(base64.b64encode(zlib.compress(pickle.dumps(MODEL)))),
    "joblib": as_bytes(joblib_dump()),
    "joblib, compressed": as_bytes(joblib_dump(compress=3)),
}


@pytest.mark.parametrize("array", DISGUISED.values(), ids=DISGUISED)
def test_a_pickle_in_disguise_is_found(array):
    assert "a pickle" in disguised_pickle(array)


def test_what_torch_saves_is_found():
    assert "a zip archive" in disguised_pickle(as_bytes(torch_save()))
    assert "a pickle" in disguised_pickle(as_bytes(torch_save(_use_new_zipfile_serialization=False)))


def test_an_archive_of_numpy_is_found():
    stream = io.BytesIO()
    np.savez(stream, a=np.ones(3))
    assert "a zip archive" in disguised_pickle(as_bytes(stream.getvalue()))


@pytest.mark.parametrize("text", ['{"layers": [1, 2]}', "N.", "some words.", "", "cos theta.", "K.", "."])
def test_text_is_none(text):
    assert disguised_pickle(as_bytes(text.encode())) == ""


def test_numbers_are_none():
    rng = np.random.default_rng(1)
    arrays = [np.arange(300), np.zeros((3, 3)), np.array(128), np.array([0.5, np.nan]), np.zeros(0), np.array([1j])]
    arrays += [rng.random(50) for _ in range(300)] + [rng.integers(0, 256, 50) for _ in range(300)]
    arrays += [rng.integers(0, 256, 50, dtype=np.uint8) for _ in range(300)]
    assert [disguised_pickle(array) for array in arrays] == [""] * len(arrays)


def test_what_is_unpickled_is_seen_only_inside():
    content = pickle.dumps(MODEL)
    with unpickled() as seen:
        pass
    pickle.loads(content)  # noqa: S301 - its own
    assert seen == []
    with unpickled() as seen:
        pickle.loads(content)  # noqa: S301 - its own
        other = threading.Thread(target=pickle.loads, args=(pickle.dumps(io.BytesIO),))
        other.start()
        other.join()
    assert "collections.OrderedDict" in seen
    assert "_io.BytesIO" not in seen
