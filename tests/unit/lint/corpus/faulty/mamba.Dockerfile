FROM mambaorg/micromamba
COPY . /app
WORKDIR /app
RUN micromamba install -y -n base -f environment.yml
USER root
RUN apt-get update && apt-get install -y build-essential
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--allow-root", "--NotebookApp.token=''"]
