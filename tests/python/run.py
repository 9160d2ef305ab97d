# SPDX-License-Identifier: Apache-2.0
"""run.py VMM [WORD]: the native tests of the Python package, or those whose names hold WORD. VMM is tests/python/vmm."""
import os
import sys

import support

if __name__ == "__main__":
    place = support.Place(os.path.abspath(sys.argv[1]))
    try:
        import test_boxes
        import test_contract
        import test_executions
        import test_sync
        code = support.run(test_contract, test_executions, test_boxes, test_sync,
                           only=sys.argv[2] if len(sys.argv) > 2 else "")
    finally:
        place.remove()
    sys.exit(code)
