"""Listed samples: read back as they were, in any order, under other ids and origins, and small in
memory."""
from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loop_world import Held, judged, probed, says, task

from dataloop.mixing.equation_5 import without_repeats
from dataloop.verifying.relabel import error_seed
from looptool.fingerprints import fingerprint
from looptool.records import ErrorSeed, Probe
from looptool.sample_table import ORIGINS, Listing

CITIES = [task(city) for city in ("Rome", "Oslo", "Bern", "Graz")]
PROBES = [probed(task(city), says("no"), perplexity)
          for city, perplexity in (("Lyon", 1.1), ("Kyiv", 1.9), ("Bonn", 1.5))]
SEEDS = [error_seed(judged(probe, "PRED_WRONG"), 1) for probe in PROBES[:2]]


@pytest.fixture
def listing() -> Held:
    return Held()


def test_records_of_all_kinds_are_read_back_in_any_order(listing):
    rows = np.concatenate([listing.put(CITIES), listing.put(PROBES, Probe),
                           listing.put(SEEDS, ErrorSeed)])
    records = [*CITIES, *PROBES, *SEEDS]
    assert list(listing.records(rows[::-1])) == records[::-1]
    assert list(listing.samples(rows[[0, 5, 7]])) == [CITIES[0], PROBES[1].sample, SEEDS[0].sample]
    assert list(listing.ids(rows[:4])) == [fingerprint(sample.id) for sample in CITIES]
    assert list(listing.perplexities(rows[3:6])) == [0.0, 1.1, 1.9]


def test_what_is_not_wanted_has_no_row(listing):
    rows = listing.put(PROBES, Probe, lambda probe: probe.perplexity > 1.2)
    assert [probe.perplexity for probe in listing.records(rows)] == [1.9, 1.5]


def test_origins_are_given_and_samples_listed_again(listing):
    rome, oslo = listing.put(CITIES[:2])
    again = listing.add_again(rome, 3)
    origins = np.array([ORIGINS.index("expanded"), ORIGINS.index("high_ppl")], np.uint8)
    first, second = listing.samples(np.array([again, oslo]), origins)
    assert (first.id, first.parent, first.origin) == (f"{CITIES[0].id}-3", CITIES[0].id, "expanded")
    assert (second.id, second.parent, second.origin) == (CITIES[1].id, None, "high_ppl")
    assert len({*listing.ids(np.array([rome, again, listing.add_again(rome, 2)]))}) == 3


@given(st.lists(st.lists(st.integers(0, 9)), min_size=1, max_size=4))
def test_a_repeat_is_left_out_wherever_it_is(parts: list[list[int]]):
    listing, seen = Listing(), set()
    rows = [np.array([listing.add_row(number) for number in part], np.uint32) for part in parts]
    for part, unique in zip(parts, without_repeats(listing, rows), strict=True):
        expected = [number for number in dict.fromkeys(part) if number not in seen]
        seen.update(part)
        assert list(listing.ids(unique)) == expected


def test_the_random_order_is_that_of_the_samples_and_the_key():
    numbers = [fingerprint(str(number)) for number in range(2000)]
    listing = Listing()
    rows = np.array([listing.add_row(number) for number in numbers], np.uint32)
    orders = {key: list(listing.ids(listing.shuffled(rows, key))) for key in ("0:2", "0:3")}
    assert (orders["0:2"] == list(listing.ids(listing.shuffled(rows[::-1], "0:2")))
            and sorted(orders["0:2"]) == sorted(numbers))
    places = np.array([[order.index(number) for number in numbers]
                       for order in (*orders.values(), sorted(numbers))])
    assert np.abs(np.corrcoef([*places, range(2000)])[~np.eye(4, dtype=bool)]).max() < 0.1


def test_a_sample_takes_some_thirty_bytes():
    tracemalloc.start()
    try:
        listing = Listing()
        for number in range(20_000):
            listing.add_row(number << 40, 1.5, number << 10, 1000, 1)
        assert tracemalloc.get_traced_memory()[0] < 40 * 20_000
    finally:
        tracemalloc.stop()
