"""Sets and tables of ids in sorted arrays: what a set and a dict would say."""
from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

import looptool.fingerprints
from looptool.fingerprints import IdSet, Places, fingerprint

IDS = st.lists(st.text(max_size=3))


@settings(deadline=None)
@given(IDS, st.text(max_size=3), st.integers(1, 4))
def test_a_set_of_ids(ids: list[str], other: str, new: int) -> None:
    with patch.object(looptool.fingerprints, "NEW_IDS", new):
        known = IdSet(ids)
    assert (all(id in known for id in ids) and (other in known) == (other in ids)
            and len(known) == len(set(ids)))


@settings(deadline=None)
@given(IDS, IDS, st.text(max_size=3), st.integers(1, 4))
def test_sets_grow_by_ids_and_by_other_sets(first: list[str], second: list[str], other: str,
                                            new: int) -> None:
    with patch.object(looptool.fingerprints, "NEW_IDS", new):
        known, more, expected = IdSet(), IdSet(second), set(first)
        assert [known.add(id) for id in first] == [id not in first[:place]
                                                   for place, id in enumerate(first)]
        known.update(more)
        expected |= set(second)
        assert known.add(other) == (other not in expected) and other in known
    assert len(known) == len(expected | {other}) and all(id in known for id in expected)


@settings(deadline=None)
@given(IDS, IDS, st.text(max_size=3))
def test_what_was_added_last_is_found_once_it_is_sorted(first: list[str], second: list[str],
                                                        other: str) -> None:
    places = Places()
    for place, id in enumerate(first):
        places.add(fingerprint(id), place)
    places.sort()
    for place, id in enumerate(second, len(first)):
        places.add(fingerprint(id), place)
    assert [places.find(fingerprint(id)) for id in first] == [len(first) - 1 - first[::-1].index(id)
                                                              for id in first]
    places.sort()
    known = {id: place for place, id in enumerate([*first, *second])}
    assert len(places) == len(first) + len(second)
    assert all(places.find(fingerprint(id)) == place for id, place in known.items())
    assert places.find(fingerprint(other)) == known.get(other)
