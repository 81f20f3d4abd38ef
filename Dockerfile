# routing-service in a container.
#
#   docker build -t routing-service .
#   docker build -t routing-service:gpu --build-arg GPU=1 .     onnxruntime-gpu and the CUDA libraries it loads
#   docker run --rm -p 50051:50051 routing-service
#
# Another base, with Python 3.11 or newer: --build-arg BASE=...
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG GPU=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY clients/python clients/python
COPY export_onnx export_onnx
COPY routing_service routing_service
RUN python -m venv /opt/routing-service \
    && ROUTING_SERVICE_GPU="${GPU}" /opt/routing-service/bin/pip install --constraint constraints.txt ./clients/python .
# The driver comes with the host; the other libraries of CUDA come from PyPI, and the loader finds them in one folder.
RUN mkdir /opt/routing-service/cuda \
    && if [ "${GPU}" = 1 ]; then \
        /opt/routing-service/bin/pip install --constraint constraints.txt 'onnxruntime-gpu[cuda,cudnn]' \
        && find /opt/routing-service -path '*/nvidia/*/lib/*.so*' -exec ln -s -t /opt/routing-service/cuda {} +; \
    fi

FROM ${BASE}
COPY --from=build /opt/routing-service /opt/routing-service
COPY LICENSE NOTICE /usr/share/doc/routing-service/
ENV PATH=/opt/routing-service/bin:${PATH} \
    LD_LIBRARY_PATH=/opt/routing-service/cuda \
    PYTHONUNBUFFERED=1
# Numeric, so that Kubernetes' runAsNonRoot can check it. Nothing is written at run time: the file system may be read-only.
USER 65532:65532
EXPOSE 50051
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["routing-service", "health", "--address", "127.0.0.1:50051"]
ENTRYPOINT ["routing-service"]
CMD ["serve", "--address", "0.0.0.0:50051"]
