import os

import torch
import tqdm

print("torch", torch.__version__, "tqdm", tqdm.__version__, "cuda", os.environ["CUDA_VERSION"], os.getcwd())
