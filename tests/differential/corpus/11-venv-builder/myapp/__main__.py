import sys

import flask

print(sys.prefix, flask.__version__, sys.argv[1:])
