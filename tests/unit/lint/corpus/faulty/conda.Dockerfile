FROM continuumio/miniconda3
COPY . /opt/project
WORKDIR /opt/project
RUN conda env create -f environment.yml
SHELL ["conda", "run", "-n", "ml", "/bin/bash", "-c"]
RUN pip install jupyterlab
EXPOSE 8888
USER root
CMD ["conda", "run", "--no-capture-output", "-n", "ml", "jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--allow-root"]
