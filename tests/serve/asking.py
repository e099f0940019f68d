"""Send HTTP requests to a server, and make files to upload."""

import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio.io import MemoryFile

TIMEOUT = 120


def asker(address):
    """Return a function that sends one request and returns status, headers and body."""
    host = urlsplit(address).netloc

    def send(method, path, body=None, *, chunked=False, **headers):
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    return send


def detail(answer):
    return json.loads(answer[2])["detail"]


def geotiff(width=64, height=64, count=3, dtype="uint8", **profile):
    """Write a GeoTIFF in memory."""
    settings = {
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000),
        **profile,
    }
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=width, height=height, count=count, dtype=dtype, **settings
        ) as target:
            if width * height < 1e7:
                rng = np.random.default_rng(0)
                target.write(rng.integers(1, 200, (count, height, width)).astype(dtype))
        return bytes(memory.getbuffer())
