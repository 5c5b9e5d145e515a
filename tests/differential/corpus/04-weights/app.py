import sys

from transformers import AutoModel

print(AutoModel.from_pretrained("distilbert-base-uncased"), sys.argv[1:])
