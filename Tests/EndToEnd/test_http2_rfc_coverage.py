"""The tables together hold a row or a test for every case of an outside suite (h2spec 2.6.0, whose
cases have a group, a section and a number)."""

import test_http2_rfc_flow
import test_http2_rfc_frames
import test_http2_rfc_hpack
import test_http2_rfc_messages
import test_http2_rfc_streams

#: How many cases each section has.
CASES = {
    "generic/1": 1, "generic/2": 5, "generic/3.1": 3, "generic/3.2": 3, "generic/3.3": 5,
    "generic/3.4": 1, "generic/3.5": 1, "generic/3.7": 1, "generic/3.8": 1, "generic/3.9": 2,
    "generic/3.10": 2, "generic/4": 4, "generic/5": 15,
    "http2/3.5": 2, "http2/4.1": 3, "http2/4.2": 3, "http2/4.3": 3, "http2/5.1": 13,
    "http2/5.1.1": 2, "http2/5.1.2": 1, "http2/5.3.1": 2, "http2/5.4.1": 2, "http2/5.5": 2,
    "http2/6.1": 3, "http2/6.2": 4, "http2/6.3": 2, "http2/6.4": 3, "http2/6.5": 3,
    "http2/6.5.2": 5, "http2/6.5.3": 2, "http2/6.7": 4, "http2/6.8": 1, "http2/6.9": 3,
    "http2/6.9.1": 3, "http2/6.9.2": 3, "http2/6.10": 6, "http2/7": 2, "http2/8.1": 1,
    "http2/8.1.2": 1, "http2/8.1.2.1": 4, "http2/8.1.2.2": 2, "http2/8.1.2.3": 7,
    "http2/8.1.2.6": 2, "http2/8.2": 1,
    "hpack/2.3.3": 2, "hpack/4.2": 1, "hpack/5.2": 3, "hpack/6.1": 1, "hpack/6.3": 1,
}


def test_every_case_of_the_outside_suite_has_a_counterpart():
    ours = set(test_http2_rfc_flow.CASES)
    for module in (test_http2_rfc_frames, test_http2_rfc_hpack, test_http2_rfc_messages,
                   test_http2_rfc_streams):
        ours.update(case for row in module.ROWS for case in row.cases)
    theirs = {f"{section}/{number + 1}" for section, count in CASES.items()
              for number in range(count)}
    assert len(theirs) == 147
    assert theirs - ours == set()
    assert ours - theirs == set()
