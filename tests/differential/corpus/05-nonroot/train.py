import os
import sys

import numpy

print(os.getuid(), os.getgid(), os.getcwd(), os.environ.get("HOME"), sys.argv[1:], numpy.__version__)
open("written", "w").close()
