FROM continuumio/miniconda3:24.9.2-0
WORKDIR /opt/project
COPY environment.yml ./
RUN conda env create -f environment.yml && conda clean -afy
COPY . .
RUN useradd -m jovyan
USER jovyan
EXPOSE 8888
CMD ["conda", "run", "--no-capture-output", "-n", "ml", "jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]
