"""Malformed inputs for every reader: each is read as far as it can be, or gets one clear line (tests/corpus.py)."""

import pytest

from tests.corpus import DAMAGES, ODD, corpus, tried


@pytest.fixture(scope="module")
def inputs():
    return list(corpus())


def test_the_corpus_is_large(inputs):
    assert len(inputs) >= 500
    assert len({(reader.name, damage) for reader, damage, _ in inputs}) == len(inputs)


@pytest.mark.parametrize("damage", DAMAGES)
def test_malformed_input_is_read_or_gets_one_line(inputs, damage, tmp_path):
    found = [(reader.name, *tried(reader, data, tmp_path)) for reader, of, data in inputs if of == damage]
    assert [row for row in found if row[1] == "FAULT"] == []
    assert len(found) == (len(inputs) - len(ODD)) / len(DAMAGES)


def test_files_of_other_content_are_read_or_get_one_line(inputs, tmp_path):
    found = [(reader.name, of, *tried(reader, data, tmp_path)) for reader, of, data in inputs if of not in DAMAGES]
    assert [row for row in found if row[2] == "FAULT"] == []
    assert len(found) == len(ODD)
