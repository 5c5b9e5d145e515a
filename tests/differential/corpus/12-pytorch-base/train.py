import os

import torch
import tqdm

print(torch.__version__, tqdm.__version__, os.getuid(), open("/etc/timezone").read())
