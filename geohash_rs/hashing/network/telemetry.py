"""Import ONNX Runtime without its reports to its maker."""

import os
from typing import Any

__all__ = ["quiet_onnxruntime"]


def quiet_onnxruntime() -> Any:  # noqa: ANN401 - it has no types
    """Import ONNX Runtime with its telemetry off, unless the user has set the variable.

    Its builds may report sessions to its maker: they look up a host, keep an id of the device and
    queue events. The variable must be set before the import.

    Returns:
        The module.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # noqa: PLC0415 - slow to import

    return onnxruntime
