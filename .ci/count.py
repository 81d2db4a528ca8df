"""Sums test reports (JUnit XML): `count.py PROBLEMS FILE...` prints "N passed, N failed" as its last
line. PROBLEMS is how many steps failed; a step that failed without a failed test counts as one.
The exit status is 0 only when nothing failed and something passed."""

import sys
import xml.etree.ElementTree as xml


def main(problems, paths):
    passed, failed, skipped = 0, 0, 0
    for path in paths:
        try:
            cases = list(xml.parse(path).getroot().iter("testcase"))
        except (OSError, xml.ParseError) as error:
            print(f"{path}: {error}")
            failed += 1
            continue
        for case in cases:
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                failed += 1
                print(f"failed: {case.get('classname')} {case.get('name')}")
            elif "skipped" in kinds:
                skipped += 1
            else:
                passed += 1
    failed = max(failed, problems)
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
