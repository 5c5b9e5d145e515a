FROM tensorflow/serving
COPY models/resnet /models/resnet
ENV MODEL_NAME=resnet
