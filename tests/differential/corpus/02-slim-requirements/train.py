import sys

import numpy
import torch
import transformers

print(torch.__version__, numpy.__version__, transformers.__version__, sys.argv[1:], sys.prefix)
