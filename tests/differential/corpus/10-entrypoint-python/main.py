import sys

import numpy

print(sys.version_info[:2], numpy.__version__, sys.argv)
