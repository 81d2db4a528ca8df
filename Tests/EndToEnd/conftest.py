"""Fixtures that several files of the end-to-end tests share."""

import pytest

import h2table


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """A gateway that speaks HTTP/2, for all tests of a file."""
    with h2table.run_front(tmp_path_factory.mktemp("h2")) as running:
        yield running
