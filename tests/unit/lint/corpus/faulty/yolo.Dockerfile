FROM ultralytics/ultralytics
WORKDIR /usr/src/app
RUN apt-get update && apt-get install -y libgl1-mesa-glx libglib2.0-0
RUN pip install opencv-python ultralytics
COPY . .
COPY yolov8n.pt /usr/src/app/weights/yolov8n.pt
CMD ["python", "detect.py", "--weights", "weights/yolov8n.pt"]
