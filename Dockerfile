# TransGAN with all extras. Build and use: docs/howto/docker.md.
FROM python:3.11-slim
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY transgan transgan
COPY plugins plugins
COPY recipes recipes
RUN pip install --no-cache-dir ".[all]"
WORKDIR /work
ENTRYPOINT ["transgan"]
