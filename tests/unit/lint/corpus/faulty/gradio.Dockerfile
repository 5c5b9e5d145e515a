FROM nvidia/cuda:12.1.0-devel-ubuntu22.04
RUN apt update
RUN apt install -y python3 python3-pip git ffmpeg libsm6 libxext6
RUN pip3 install torch torchvision torchaudio --index-url https://wheels.example/whl/cu118
COPY . /workspace
WORKDIR /workspace
RUN pip3 install -r requirements.txt
EXPOSE 7860
CMD python3 app.py
